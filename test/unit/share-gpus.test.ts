import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Checksum, TRIAL_TOKENS, trialActivations } from '../../artifact/trial.ts';
import { trialChecksums } from '../../compiler/build/trials.ts';
import { writeWeights } from '../../compiler/build/weights.ts';
import { importModel } from '../../compiler/import/index.ts';
import { referenceSums } from '../../compiler/kernels/bitlinear-i2.ts';
import { t16 } from '../../compiler/kernels/bitlinear-t16.ts';
import { groupBytes } from '../../compiler/kernels/layout.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { selectGpuKernels } from '../../compiler/passes/select-gpu-kernels.ts';
import { checkGpus, type Share, shareAmong } from '../../compiler/passes/share-gpus.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { defaultModel } from '../../index.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';

/** A layer as GPU `gpu` gets it: what the engine does with the slices. */
function layerOf({ plan, slices }: Share, file: Buffer, gpu: number): Buffer {
  const layer = Buffer.alloc(plan.weights.layerBytes);
  for (const { from, step, to, bytes } of slices) file.copy(layer, to, from + gpu * step, from + gpu * step + bytes);
  return layer;
}

test('the rows of a matrix are dealt out to GPUs, each of them once, and norms go to all', async () => {
  const plan = planForGpu(await importModel(defaultModel()));
  const { layerBase, layerBytes, layer: tensors } = plan.weights;
  const folder = mkdtempSync(join(tmpdir(), 'bitnet-test-'));
  try {
    const path = join(folder, 'weights.bin');
    await writeWeights(await importModel(defaultModel()), plan, path);
    const whole = readFileSync(path).subarray(layerBase, layerBase + layerBytes);
    const share = shareAmong(plan, 2);
    const shares = [0, 1].map((gpu) => layerOf(share, whole, gpu));
    for (const tensor of tensors) {
      const own = share.plan.weights.layer.find(({ name }) => name === tensor.name)!;
      const bytes = shares.map((layer) => layer.subarray(own.offset, own.offset + own.bytes));
      const all = whole.subarray(tensor.offset, tensor.offset + tensor.bytes);
      if (tensor.kind === 'vector') {
        for (const one of bytes) assert.ok(one.equals(all), tensor.name);
        continue;
      }
      const codes = tensors.find(({ name }) => name === tensor.name.replace('_scales', ''))!;
      if (codes.kind !== 'codes' || own.kind === 'vector') throw new Error(tensor.name);
      // Part by part, the first half of its rows and the second one.
      const rowBytes = tensor.bytes / codes.rows;
      const ends = codes.woven ? [codes.rows] : [...codes.parts.slice(1).map(({ firstRow }) => firstRow), codes.rows];
      let begin = 0;
      for (const end of ends) {
        const half = (bytes: Buffer) => bytes.subarray((begin / 2) * rowBytes, (end / 2) * rowBytes);
        assert.ok(Buffer.concat(bytes.map(half)).equals(all.subarray(begin * rowBytes, end * rowBytes)), tensor.name);
        begin = end;
      }
    }
    await checksumsAreTheirs(share, path, shares);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** What each GPU's self-test must give is computed from the weights that it has. */
async function checksumsAreTheirs(share: Share, path: string, shares: readonly Buffer[]): Promise<void> {
  const plan = { ...planForGpu(await importModel(defaultModel())) };
  const oneLayer = { ...plan, hyper: { ...plan.hyper, layers: 1 } };
  const choices = selectGpuKernels(plan, 2);
  for (const [gpu, layer] of shares.entries()) {
    const sums = await trialChecksums(oneLayer, path, choices, gpu);
    for (const { use, gemm } of choices) {
      const codes = share.plan.weights.layer.find(({ name, kind }) => name === use && kind === 'codes')!;
      const expected = new Checksum();
      const bytes = groupBytes(t16, gemm.k);
      for (let token = 0; token < TRIAL_TOKENS; token++) {
        for (const group of [0, gemm.m / 16 - 1]) {
          const packed = layer.subarray(codes.offset + group * bytes, codes.offset + (group + 1) * bytes);
          const rows = t16.unpackGroup(packed, gemm.k, group);
          expected.add(referenceSums(rows, 16, gemm.k, trialActivations(gemm.k, token)));
        }
      }
      assert.is(sums.get(gemm.name), expected.hex(), `${use} of GPU ${gpu}`);
    }
  }
}

test('heads are dealt out with their rows where they come out even, and are on every GPU where they do not', () => {
  const even = shareAmong(planForGpu(sketch({ heads: 8, kvHeads: 4 })), 2);
  assert.equal([even.plan.hyper.heads, even.plan.hyper.kvHeads, even.kvHeads], [4, 2, 4]);
  assert.equal([...even.gathered].sort(), ['attended', 'gated', 'x']);
  const odd = shareAmong(planForGpu(sketch({ heads: 6, kvHeads: 3 })), 2);
  assert.equal([odd.plan.hyper.heads, odd.plan.hyper.kvHeads], [6, 3]);
  assert.equal([...odd.gathered].sort(), ['gated', 'x']);
  const rows = (share: Share) => share.plan.layer.flatMap((step) => (step.op === 'bitlinear' ? [step.m] : []));
  assert.equal(rows(even), [128, 32, 128, 32]);
  assert.equal(rows(odd), [192, 32, 128, 32]);
});

test('one GPU shares with nobody', () => {
  const plan = planForGpu(sketch());
  const share = shareAmong(plan, 1);
  assert.is(share.plan, plan);
  assert.is(share.gathered.size, 0);
  const { text } = renderCuda(plan).find(({ file }) => file === 'model.cu')!;
  assert.not.match(text, '{""');
});

test('each matrix but those of the queries, keys and values is followed by a gathering, in every program', () => {
  const inputNorms = { architecture: 'gemma3', inputNorms: true, embedding: 96, ffn: 96, heads: 4, kvHeads: 4 };
  for (const model of [{ heads: 8, kvHeads: 4 }, inputNorms]) {
    const plan = planForGpu(sketch(model));
    const { text } = renderCuda(plan, 2).find(({ file }) => file === 'model.cu')!;
    const gatherings = text.match(/\{"", 0, 0, 0, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0, \d+, \d+\}/g)!;
    // Attention's, and those of its output, of gate and up, and of down.
    assert.is(gatherings.length, 4 * 8);
  }
});

test('what does not come out even is refused', async () => {
  const width = await refusal(() => shareAmong(planForGpu(sketch({ ffn: 144 })), 2));
  assert.match(width.message, 'its feed-forward size of 144 does not divide by 16 × 2');
  const embedding = await refusal(() => shareAmong(planForGpu(sketch({ embedding: 80 })), 2));
  assert.match(embedding.message, 'its embedding of 80 does not divide by 16 × 2');
  for (const gpus of [0, 9, 1.5]) {
    assert.match((await refusal(() => checkGpus(gpus))).message, 'a whole number from 1 to 8');
  }
});

test.run();
