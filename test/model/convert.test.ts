import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeGguf } from '../../compiler/export/gguf.ts';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import type { ImportOptions } from '../../compiler/import/options.ts';
import { type ConvertOptions, convert } from '../../compiler/index.ts';
import type { Encoding } from '../../compiler/ir/model.ts';
import { readKernelConfig } from '../../compiler/kernels/config.ts';
import { fixture } from '../cli/invoke.ts';
import { hfFiles, writeFiles } from '../support/hf-folder.ts';
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

round('a matrix of zeros becomes real numbers, which have no scale', async () => {
  const start = fixture('b158-i2s.gguf');
  const file = readFileSync(start);
  const query = (await readGguf(start)).tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  file.fill(0b01_01_01_01, query.offset, query.offset + query.bytes! - 32);
  const zeros = join(folder, 'zeros.gguf');
  writeFileSync(zeros, file);
  const there = await to({ path: zeros }, { to: 'gguf', type: 'f16' });
  await to(there, i2s);
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

/** BitNet's embedding models: norms of heads and before each projection, heads apart from the width, pooling. */
const EMBEDDING: Description = {
  architecture: 'qwen3',
  embedding: 64,
  ffn: 96,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 40,
  vocab: 96,
  ropeBase: 1e6,
  epsilon: 2 ** -20,
  embeddingEncoding: 'f16',
  inputNorms: true,
  pooling: 3,
  seed: 44,
};
const EMBEDDINGS: Readonly<Record<string, Description>> = {
  qwen3: EMBEDDING,
  'qwen3 that pools the mean, with a head of its own': { ...EMBEDDING, pooling: 1, headEncoding: 'bf16' },
  'qwen3 without norms before its projections, no pooling': { ...EMBEDDING, inputNorms: false, pooling: 0 },
  gemma3: { ...EMBEDDING, architecture: 'gemma3', kvHeads: 1, pooling: 2 },
  'gemma3 with windows, scaled rope, a scale of its own': {
    ...EMBEDDING,
    architecture: 'gemma3',
    layers: 3,
    window: { positions: 21, pattern: [true, false, true], ropeBase: 5000 },
    ropeLinear: 8,
    attentionScale: 0.125,
  },
};
for (const [name, description] of Object.entries(EMBEDDINGS)) {
  round(`gguf → safetensors → gguf: ${name}`, async () => {
    const start = save(description);
    const packed = await to({ path: start }, { to: 'safetensors' });
    const back = await to(packed, i2s);
    assert.equal(await tensorBytes(back.path), await tensorBytes(start));
    const [before, there, after] = await Promise.all([start, packed.path, back.path].map((path) => importModel(path)));
    assert.equal(after.hyper, before.hyper);
    assert.equal([there.pooling, after.pooling], [before.pooling, before.pooling]);
    // The folder may be replaced, with all that is in it.
    await convert(start, packed.path, { to: 'safetensors' });
  });
}

round(
  'names that stand for the same go round: bitnet-25, and the pre-tokenizers of Falcon 3 and SentencePiece',
  async () => {
    const named = async (path: string, key: string, value: string) => {
      const { metadata, tensors } = await readGguf(path);
      const file = readFileSync(path);
      const copy = join(folder, `named-${made++}.gguf`);
      const sources = tensors.map(({ name, shape, typeName, offset, bytes }) => ({
        name,
        shape,
        encoding: typeName.toLowerCase() as Encoding,
        data: () => [file.subarray(offset, offset + bytes!)],
      }));
      await writeGguf(copy, new Map([...metadata, [key, { type: 'string', value }]]), sources);
      return copy;
    };
    const sentencePiece = await convert(sentencePieceFolder(), join(folder, 'pieces.gguf'), i2s);
    const starts = [
      save({ ...AWKWARD, architecture: 'bitnet-25', ropeDimensions: 64 }),
      await named(fixture('llama-tq2.gguf'), 'tokenizer.ggml.pre', 'falcon3'),
      await named(sentencePiece.output, 'tokenizer.ggml.pre', 'llama'),
    ];
    for (const start of starts) {
      const packed = await to({ path: start }, { to: 'safetensors' });
      await to(packed, i2s);
    }
  },
);

/** 1bitLLM's large, with the tokenizer.json of Llama 2. */
function sentencePieceFolder(): string {
  const vocab = ['<unk>', '<s>', '</s>', '<0x0A>', '▁', 'a', 'b', 'ab', '▁a', 'ba', '▁ab'];
  const special = vocab.slice(0, 3).map((content, id) => ({ id, content, special: true, normalized: false }));
  const mark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const merges = ['a b', '▁ a', '▁a b', '▁ ab', 'b a'];
  const tokenizer = {
    added_tokens: special,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, mark] },
    pre_tokenizer: null,
    post_processor: null,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      byte_fallback: true,
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      merges,
    },
  };
  const settings = { bos_token: '<s>', eos_token: '</s>', add_bos_token: true };
  const files = { ...hfFiles('BitnetForCausalLM', 'masters'), 'tokenizer.json': tokenizer };
  return writeFiles(join(folder, `pieces-${made++}`), { ...files, 'tokenizer_config.json': settings });
}

round("merges over SentencePiece's vocabulary survive in a GGUF file", async () => {
  const start = sentencePieceFolder();
  const there = await to({ path: start }, i2s);
  const back = await to(there, { to: 'safetensors' });
  const [before, between, after] = await Promise.all([start, there.path, back.path].map((path) => importModel(path)));
  assert.is(before.tokenizer.model, 'llama');
  assert.equal(before.tokenizer.merges, ['a b', '▁ a', '▁a b', '▁ ab', 'b a']);
  assert.equal(between.tokenizer, before.tokenizer);
  assert.equal(after.tokenizer, before.tokenizer);
});

round.run();
