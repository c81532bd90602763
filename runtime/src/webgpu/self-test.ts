import { Checksum, TRIAL_TOKENS, trialActivations } from '../../../artifact/trial.ts';
import { BitnetError } from '../../../errors.ts';
import type { WebGpuExecutor } from './executor.ts';

const HINT = 'The driver is at fault, or the artifact is damaged: compile the model again, or take another target.';

/**
 * Runs each ternary kernel on the weights and compares its sums with what the compiler has computed.
 * @throws BitnetError where they differ, or the program and the manifest list other kernels
 */
export async function selfTest(
  executor: WebGpuExecutor,
  kernels: readonly { readonly name: string; readonly checksum: string }[],
): Promise<void> {
  const { trials, layers } = executor.program;
  const sums = await Promise.all(
    trials.map(({ k, tokens }) =>
      Array.from({ length: tokens === 1 ? 1 : TRIAL_TOKENS }, (_, t) => trialActivations(k, t)),
    ),
  );
  // One after the other: they share buffers.
  const found: Int32Array[][][] = [];
  for (const [i, trial] of trials.entries()) found.push(await executor.trial(trial, sums[i]!));
  const computed = new Map<string, Checksum>();
  for (let layer = 0; layer < layers; layer++) {
    trials.forEach(({ kernel }, i) => {
      const checksum = computed.get(kernel) ?? new Checksum();
      for (const rows of found[i]![layer]!) checksum.add(rows);
      computed.set(kernel, checksum);
    });
  }
  const listed = new Map(kernels.map(({ name, checksum }) => [name, checksum]));
  for (const [name, sums] of computed) {
    const [hex, expected] = [sums.hex(), listed.get(name)];
    if (hex === expected) continue;
    const what = expected
      ? `self-test failed: kernel ${name} computed the checksum ${hex}, the manifest says ${expected}: it would give wrong results on this GPU`
      : `the program has the kernel ${name}, which the manifest does not list`;
    throw new BitnetError(what, { hint: HINT });
  }
}
