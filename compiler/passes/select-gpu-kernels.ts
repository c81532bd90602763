import type { Plan } from '../ir/plan.ts';
import { GPU_CLASSES, type GpuClass, type GpuKernels, type GpuTile, gpuKernels } from '../kernels/bitlinear-t16.ts';
import { checkGpuTile } from '../kernels/gpu-tiles.ts';
import type { KernelShape } from '../kernels/spec.ts';
import type { Tuned } from '../tune/tuned-file.ts';
import type { Choice } from './select-kernels.ts';
import { shareAmong } from './share-gpus.ts';

/**
 * The kernels of a ternary matrix of a GPU: those that a tuning found, and the default ones for what it did not measure.
 * Throws UnsupportedSpecError where one cannot be exact, or not run on the GPU that was tuned.
 */
export function gpuKernelsOf({ m, k }: KernelShape, tuned?: Tuned): GpuKernels {
  const found = tuned?.shapes.find((one) => one.m === m && one.k === k)?.layouts[0]?.kernels;
  const given: { [takes in GpuClass]?: GpuTile & { readonly reason: string } } = {};
  for (const takes of GPU_CLASSES) {
    const kernel = found?.[takes];
    if (!kernel) continue;
    checkGpuTile(takes, { m, k }, kernel, tuned!.machine.gpu!.capability);
    given[takes] = kernel;
  }
  return gpuKernels(m, k, given);
}

/**
 * The kernels of each ternary matrix of a plan for GPUs, or of what each of some has of it: the engine takes one by how many
 * tokens a step has.
 */
export function selectGpuKernels(plan: Plan, gpus = 1, tuned?: Tuned): Choice[] {
  return shareAmong(plan, gpus)
    .plan.layer.filter((step) => step.op === 'bitlinear')
    .map((step) => {
      const { one, few, some, many, plain } = gpuKernelsOf(step, tuned);
      return { use: step.use, gemv: one, gemm: few, others: [...new Set([some, plain.some, plain.many, many])] };
    });
}
