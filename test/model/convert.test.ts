import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import type { ImportOptions } from '../../compiler/import/options.ts';
import { type ConvertOptions, convert } from '../../compiler/index.ts';
import { readKernelConfig } from '../../compiler/kernels/config.ts';
import { fixture } from '../cli/invoke.ts';
import { refusal } from '../support/refusal.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';

const round = suite('conversion, there and back');
const folder = temporaryFolder('convert-round');
let made = 0;

/** Converts, and gives what reading the result takes. */
async function to(from: { path: string } & ImportOptions, options: ConvertOptions) {
  const { path, ...reading } = from;
  const report = await convert(path, join(folder, `model-${made++}`), { ...reading, ...options });
  return {
    path: report.output,
    report,
    ...(report.config !== undefined && { config: await readKernelConfig(report.config) }),
  };
}

/** The bytes of a GGUF file's tensors by name: nobody's reader but the header's is between. */
async function tensorBytes(path: string): Promise<Map<string, string>> {
  const { tensors } = await readGguf(path);
  const file = readFileSync(path);
  return new Map(
    tensors
      .map(({ name, typeName, shape, offset, bytes }): [string, string] => [
        name,
        `${typeName} ${shape.join('x')} ${file.subarray(offset, offset + bytes!).toString('base64')}`,
      ])
      .sort(),
  );
}

async function requireSame(path: string, original: string): Promise<void> {
  assert.equal(await tensorBytes(path), await tensorBytes(original));
  const [a, b] = [await importModel(path), await importModel(original)];
  assert.equal(a.hyper, b.hyper);
  assert.equal(a.tokenizer, b.tokenizer);
}

/** A copy of an I2_S file, each scale a float32 that is no float16. */
async function withFineScales(path: string): Promise<string> {
  const file = readFileSync(path);
  for (const { typeName, offset, bytes } of (await readGguf(path)).tensors) {
    const at = offset + bytes! - 32;
    if (typeName === 'I2_S') file.writeFloatLE(file.readFloatLE(at) * (1 + 2 ** -20), at);
  }
  const copy = join(folder, `fine-${made++}.gguf`);
  writeFileSync(copy, file);
  return copy;
}

/** A model whose scales are no float16 numbers, with heads that rotate in part. */
const AWKWARD: Description = {
  architecture: 'llama',
  embedding: 256,
  ffn: 512,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  vocab: 128,
  ropeBase: 10000,
  ropeDimensions: 32,
  epsilon: 2 ** -17,
  embeddingEncoding: 'f16',
  headEncoding: 'bf16',
  seed: 41,
};

function save(description: Description): string {
  const path = join(folder, `synthetic-${made++}.gguf`);
  writeFileSync(path, synthetic(description).file);
  return path;
}

const i2s: ConvertOptions = { to: 'gguf', type: 'i2_s' };
const MODELS: readonly [string, () => Promise<string>][] = [
  ['b158-i2s', async () => fixture('b158-i2s.gguf')],
  ['bitnet-silu-tq1', async () => (await to({ path: fixture('bitnet-silu-tq1.gguf') }, i2s)).path],
  ['llama-tq2', async () => (await to({ path: fixture('llama-tq2.gguf') }, i2s)).path],
  [
    'llama-tq2 with scales that are no float16',
    async () => withFineScales((await to({ path: fixture('llama-tq2.gguf') }, i2s)).path),
  ],
];
for (const [name, prepare] of MODELS) {
  round(`i2_s → tl2 → tq1_0 → safetensors → i2_s: ${name}`, async () => {
    const start = await prepare();
    const tl2 = await to({ path: start }, { to: 'gguf', type: 'tl2' });
    const tq1 = await to(tl2, { to: 'gguf', type: 'tq1_0' });
    const packed = await to(tq1, { to: 'safetensors' });
    const back = await to(packed, i2s);
    await requireSame(back.path, start);
  });
}

round('a shape that tq1_0 cannot hold goes round without it', async () => {
  const start = fixture('b158-ragged-i2s.gguf');
  const tl2 = await to({ path: start }, { to: 'gguf', type: 'tl2' });
  const refused = await refusal(() => to(tl2, { to: 'gguf', type: 'tq1_0' }));
  assert.match(refused.message, /tensor blk\.0\.attn_q\.weight cannot be stored as tq1_0: 384 values .* 256/);
  assert.match(refused.hint!, /i2_s, tl1, tl2, f16, bf16/);
  const tl1 = await to(tl2, { to: 'gguf', type: 'tl1' });
  const packed = await to(tl1, { to: 'safetensors' });
  const back = await to(packed, { ...i2s, embedType: 'q8_0' });
  // Its embeddings were Q8_0, which SafeTensors have not: they were float32 on the way, and are rounded again.
  const [bytes, original] = [await tensorBytes(back.path), await tensorBytes(start)];
  bytes.delete('token_embd.weight');
  original.delete('token_embd.weight');
  assert.equal(bytes, original);
  const embedding = packed.report.tensors.find((tensor) => tensor.name === 'token_embd.weight')!;
  assert.is(embedding.to, 'f32');
  assert.ok(embedding.equal, 'float32 holds all of Q8_0');
});

for (const type of ['tq1_0', 'tq2_0', 'tl1', 'tl2', 'f16', 'bf16'] as const) {
  round(`i2_s → ${type} → i2_s gives the same file`, async () => {
    const start = fixture('b158-i2s.gguf');
    const there = await to({ path: start }, { to: 'gguf', type });
    const back = await to(there, i2s);
    assert.ok(readFileSync(back.path).equals(readFileSync(start)));
  });

  round(`i2_s → ${type} → i2_s keeps scales that float16 would round`, async () => {
    const start = save({ ...AWKWARD, seed: 42 });
    const there = await to({ path: start }, { to: 'gguf', type });
    const back = await to(there, i2s);
    await requireSame(back.path, start);
  });
}

round('.scale tensors are multiplied in, as they are where the model is run', async () => {
  const start = save({ ...AWKWARD, scaleTensors: true, seed: 43 });
  const { layers } = synthetic({ ...AWKWARD, scaleTensors: true, seed: 43 }).weights;
  const { report, path } = await to({ path: start }, i2s);
  assert.match(report.notes.join(), /\.scale tensors of the input are multiplied/);
  const { tensors } = await readGguf(path);
  assert.not(tensors.some((tensor) => tensor.name.endsWith('.scale')));
  const down = tensors.find((tensor) => tensor.name === 'blk.1.ffn_down.weight')!;
  assert.is(readFileSync(path).readFloatLE(down.offset + down.bytes! - 32), Math.fround(layers[1].down.scale));
});

round('a checkpoint of real numbers holds weights whose scales it can hold', async () => {
  const plain = await to({ path: fixture('llama-tq2.gguf') }, { to: 'safetensors', type: 'f16' });
  const back = await to(plain, { to: 'gguf', type: 'tq2_0' });
  assert.equal(await tensorBytes(back.path), await tensorBytes(fixture('llama-tq2.gguf')));
  const [masters, direct] = [
    await to(plain, { to: 'gguf', type: 'f16' }),
    await to({ path: fixture('llama-tq2.gguf') }, { to: 'gguf', type: 'f16' }),
  ];
  assert.equal(await tensorBytes(masters.path), await tensorBytes(direct.path), 'rows of real numbers move, too');
  const fine = await withFineScales(fixture('b158-i2s.gguf'));
  const packed = await to({ path: fine }, { to: 'safetensors' });
  const refused = await refusal(() => to(packed, { to: 'safetensors', type: 'bf16' }));
  assert.match(refused.message, /tensor blk\.0\.attn_q\.weight has the scale .* which bf16 cannot hold exactly/);
  assert.match(refused.hint!, /leave the type away/);
});

round.run();
