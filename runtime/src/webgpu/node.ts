import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { findAdapter, nameOf, openDevice } from './device.ts';
import { openWebGpu } from './open.ts';

/** Read of the weights file at a time. */
const PIECE_BYTES = 4 << 20;

let loading: Promise<GPU> | undefined;

/**
 * WebGPU under Node, from the package `webgpu`, which is loaded once. BITNET_DAWN has options for it, with spaces: `backend=null`,
 * `enable-dawn-features=…`.
 * @throws BitnetError where it is not installed, or does not load
 */
export function loadWebGpu(): Promise<GPU> {
  // Kept as long as the process lives: Dawn aborts where devices outlive what has made them.
  loading ??= load();
  return loading;
}

async function load(): Promise<GPU> {
  // Some Vulkan drivers complain where it is missing.
  if (process.platform === 'linux') process.env.XDG_RUNTIME_DIR ??= tmpdir();
  try {
    const { create } = await import('webgpu');
    return create((process.env.BITNET_DAWN ?? '').split(' ').filter(Boolean));
  } catch (cause) {
    throw new BitnetError(`WebGPU is not there: ${(cause as Error).message}`, {
      hint: 'Node has it from a package: npm install webgpu@0.6.2',
      cause,
    });
  }
}

/**
 * The name of the GPU that target `webgpu` runs on.
 * @throws BitnetError that says why there is none: no package, or no GPU
 */
export async function findWebGpu(): Promise<string> {
  return nameOf(await findAdapter(await loadWebGpu()));
}

/**
 * Opens a model on a GPU under Node.
 * @throws BitnetError where there is no WebGPU or no GPU, or the files are not what the manifest says
 */
export async function openWebGpuFiles(
  options: NativeOpenOptions,
  wake: (id: number) => void,
  loaded: (share: number) => void,
): Promise<NativeEngine> {
  const device = await openDevice(await loadWebGpu());
  const program = await readFile(options.library, 'utf8');
  const weights = createReadStream(options.weights, { highWaterMark: PIECE_BYTES });
  return openWebGpu(device, options, { program, weights }, loaded, wake);
}
