import { webgl } from '../../targets/index.ts';
import type { Plan } from '../ir/plan.ts';
import { texelKernel } from '../kernels/bitlinear-texel.ts';
import type { Choice } from './select-kernels.ts';

/** The kernel of each ternary matrix of a plan for WebGL: one, for any number of tokens. Throws as texelKernel does. */
export function selectWebGlKernels(plan: Plan): Choice[] {
  return plan.layer
    .filter((step) => step.op === 'bitlinear')
    .map((step) => {
      const kernel = texelKernel(step, webgl.id);
      return { use: step.use, gemv: kernel, gemm: kernel };
    });
}
