import { webgpu } from '../../targets/index.ts';
import type { Plan } from '../ir/plan.ts';
import { pad16 } from '../ir/plan.ts';
import { gpuKernels } from '../kernels/bitlinear-t16.ts';
import { formatName, type Tile } from '../kernels/name.ts';
import type { KernelSpec } from '../kernels/spec.ts';
import type { Choice } from './select-kernels.ts';

/** The kernels of each ternary matrix of a plan for GPUs in WGSL: for one token, a few, and any number. */
export function selectWebGpuKernels(plan: Plan): Choice[] {
  return plan.layer
    .filter((step) => step.op === 'bitlinear')
    .map(({ use, m, k }) => {
      // Sums that could overflow are refused for all GPUs alike.
      gpuKernels(m, k);
      const columns = pad16(k);
      const spec = (family: string, tile: Tile): KernelSpec => {
        const name = formatName({ family, m, k, tile, target: webgpu.id });
        return { name, family, m, k, tile, reason: 'heuristic' };
      };
      return {
        use,
        gemv: spec('bitlinear_t16_gemv', { rows: 16, columns, tokens: 1 }),
        gemm: spec('bitlinear_t16_gemm', { rows: 64, columns, tokens: 64 }),
        others: [spec('bitlinear_t16_gemv', { rows: 16, columns, tokens: 4 })],
      };
    });
}
