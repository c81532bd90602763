import type { Checksum } from '../../../artifact/trial.ts';
import { BitnetError } from '../../../errors.ts';

const HINT = 'The driver is at fault, or the artifact is damaged: compile the model again, or take another target.';

/**
 * Holds what the kernels of a program have computed on a GPU against what the compiler has.
 * @throws BitnetError where they differ, or the manifest does not list one
 */
export function checkKernels(
  computed: ReadonlyMap<string, Checksum>,
  kernels: readonly { readonly name: string; readonly checksum: string }[],
): void {
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
