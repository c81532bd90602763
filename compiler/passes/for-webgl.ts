import type { Step } from '../ir/plan.ts';
import { texel } from '../kernels/bitlinear-texel.ts';
import type { Steps } from './lower.ts';

/** The most tokens that one step takes: enough for a kernel's cost to be arithmetic, little enough to cancel quickly. */
export const WEBGL_MAX_TOKENS = 64;

/** The same steps, all matrices in the layout of textures. */
export function stepsForWebGl(steps: Steps): Steps {
  const map = (step: Step): Step =>
    step.op === 'bitlinear' ? { ...step, layout: texel.id, reason: 'heuristic' } : step;
  return { ...steps, layer: steps.layer.map(map) };
}
