import { Checksum, TRIAL_TOKENS, trialActivations } from '../../../artifact/trial.ts';
import { checkKernels } from '../portable/checksums.ts';
import type { WebGpuExecutor } from './executor.ts';

/**
 * Runs each ternary kernel on the weights and compares its sums with what the compiler has computed.
 * @throws BitnetError where they differ, or the manifest does not list one
 */
export async function selfTest(
  executor: WebGpuExecutor,
  kernels: readonly { readonly name: string; readonly checksum: string }[],
): Promise<void> {
  const { trials, layers } = executor.program;
  // One after the other: they share buffers.
  const found: Int32Array[][][] = [];
  for (const trial of trials) {
    const tokens = trial.tokens === 1 ? 1 : TRIAL_TOKENS;
    const activations = Array.from({ length: tokens }, (_, token) => trialActivations(trial.k, token));
    found.push(await executor.trial(trial, activations));
  }
  const computed = new Map<string, Checksum>();
  for (let layer = 0; layer < layers; layer++) {
    trials.forEach(({ kernel }, i) => {
      const checksum = computed.get(kernel) ?? new Checksum();
      for (const rows of found[i]![layer]!) checksum.add(rows);
      computed.set(kernel, checksum);
    });
  }
  checkKernels(computed, kernels);
}
