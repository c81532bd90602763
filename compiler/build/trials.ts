import { Checksum, FEW_TRIAL_TOKENS, TRIAL_TOKENS, trialActivations } from '../../artifact/trial.ts';
import { withFile } from '../import/file.ts';
import type { Plan } from '../ir/plan.ts';
import { referenceSums } from '../kernels/bitlinear-i2.ts';
import { families, layoutOf } from '../kernels/index.ts';
import { stretchOf } from '../kernels/layout.ts';
import { type Choice, kernelsOf } from '../passes/select-kernels.ts';
import { outerGroups } from '../passes/share-gpus.ts';

/**
 * What each kernel's self-test must give, computed by the plain reference from the packed weights file: integer sums of
 * the first and last row group of every matrix, layer by layer; of GPUs that share a model, those of one. By kernel name.
 */
export async function trialChecksums(
  plan: Plan,
  weightsFile: string,
  choices: readonly Choice[],
  gpu = 0,
): Promise<Map<string, string>> {
  const checksums = new Map<string, Checksum>();
  for (const choice of choices) {
    for (const { name } of kernelsOf(choice)) checksums.set(name, new Checksum());
  }
  const activations = new Map<number, Int8Array[]>();
  await withFile(weightsFile, async (handle) => {
    for (let layer = 0; layer < plan.hyper.layers; layer++) {
      for (const { use, gemv, gemm, others = [] } of choices) {
        const tensor = plan.weights.layer.find((packed) => packed.kind === 'codes' && packed.name === use);
        if (tensor?.kind !== 'codes') throw new Error(`the plan has no codes of '${use}'`);
        const start = plan.weights.layerBase + layer * plan.weights.layerBytes + tensor.offset;
        const layout = layoutOf(tensor.layout);
        const outer = outerGroups(tensor, gemv.m, gpu);
        const groups = await Promise.all(
          outer.map(async (group) => {
            const { offset, bytes } = stretchOf(layout, tensor.rows, gemv.k, group);
            const packed = new Uint8Array(bytes);
            await handle.read(packed, 0, bytes, start + offset);
            return layout.unpackGroup(packed, gemv.k, group);
          }),
        );
        const tokens =
          activations.get(gemv.k) ?? Array.from({ length: TRIAL_TOKENS }, (_, t) => trialActivations(gemv.k, t));
        activations.set(gemv.k, tokens);
        const takesFew = families.some(({ id, most }) => id === gemv.family && most !== undefined);
        // One kernel may take any number of tokens.
        const tried = gemv === gemm ? TRIAL_TOKENS : takesFew ? FEW_TRIAL_TOKENS : 1;
        tokens.forEach((q, token) => {
          for (const codes of groups) {
            const sums = referenceSums(codes, 16, gemv.k, q);
            if (token < tried) checksums.get(gemv.name)!.add(sums);
            for (const { name } of [gemm, ...others]) if (name !== gemv.name) checksums.get(name)!.add(sums);
          }
        });
      }
    }
  });
  return new Map([...checksums].map(([name, checksum]) => [name, checksum.hex()]));
}
