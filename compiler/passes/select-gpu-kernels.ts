import type { Plan } from '../ir/plan.ts';
import { gpuKernels } from '../kernels/bitlinear-t16.ts';
import type { Choice } from './select-kernels.ts';
import { shareAmong } from './share-gpus.ts';

/**
 * The kernels of each ternary matrix of a plan for GPUs, or of what each of some has of it: the engine takes one by how many
 * tokens a step has.
 */
export function selectGpuKernels(plan: Plan, gpus = 1): Choice[] {
  return shareAmong(plan, gpus)
    .plan.layer.filter((step) => step.op === 'bitlinear')
    .map(({ use, m, k }) => {
      const { gemv, few, skinny, mma, wgmma } = gpuKernels(m, k, 'cuda');
      return { use, gemv, gemm: few, others: [skinny, mma, wgmma] };
    });
}
