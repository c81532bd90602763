import { Checksum, TRIAL_TOKENS, trialActivations } from '../../../artifact/trial.ts';
import type { NativeOpenOptions } from '../addon.ts';
import { checkKernels } from '../portable/checksums.ts';
import type { WebGlExecutor } from './executor.ts';

/** Rows that a group of the trials has. */
const GROUP = 16;

/**
 * Multiplies by each ternary matrix and compares the sums of its first and last rows with what the compiler has computed: so a
 * GPU whose floats are not exact is found out.
 * @throws BitnetError where they differ, or the manifest does not list one
 */
export function selfTest(executor: WebGlExecutor, kernels: NativeOpenOptions['kernels']): void {
  const { layers, matrices } = executor.program;
  const computed = new Map<string, Checksum>();
  for (let layer = 0; layer < layers; layer++) {
    matrices.forEach(({ kernel, m, k }, matrix) => {
      const checksum = computed.get(kernel) ?? new Checksum();
      computed.set(kernel, checksum);
      const columns = executor.columns(matrix);
      const q = new Float32Array(TRIAL_TOKENS * columns);
      const offsets = Array.from({ length: TRIAL_TOKENS }, (_, token) => {
        const values = trialActivations(k, token);
        q.set(values, token * columns);
        return values.reduce((sum, value) => sum + value, 0);
      });
      const sums = executor.sums(layer, matrix, q, TRIAL_TOKENS);
      offsets.forEach((offset, token) => {
        for (const first of [0, m - GROUP]) {
          const at = token * m + first;
          checksum.add(Int32Array.from(sums.subarray(at, at + GROUP), (sum) => sum - offset));
        }
      });
    });
  }
  checkKernels(computed, kernels);
}
