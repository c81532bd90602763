import { type Gpu, loadAddon } from './addon.ts';
import { engineError } from './engine.ts';

/**
 * The GPUs that target `cuda` can run on, in the order in which option `device` counts them.
 * @throws BitnetError that says why there is none: no driver, or none that it finds
 */
export function listGpus(): readonly Gpu[] {
  const { gpus } = loadAddon();
  try {
    return gpus();
  } catch (cause) {
    throw engineError((cause as Error).message, cause);
  }
}
