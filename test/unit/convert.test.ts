import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { rowOrder } from '../../compiler/convert/row-order.ts';
import { toFloat16 } from '../../compiler/import/encodings/index.ts';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import { type ConvertProgress, convert } from '../../compiler/index.ts';
import { parseKernelConfig, readKernelConfig } from '../../compiler/kernels/config.ts';
import { fixture } from '../cli/invoke.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';
import { synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';

const conversion = suite('convert');
const folder = temporaryFolder('convert');
const B158 = fixture('b158-i2s.gguf');
let made = 0;
const fresh = (): string => join(folder, `out-${made++}`);

conversion('keeps the metadata of a GGUF file, and sets what changes', async () => {
  const { output } = await convert(fixture('bitnet-silu-tq1.gguf'), fresh(), { to: 'gguf', type: 'tq2_0' });
  const before = new Map((await readGguf(fixture('bitnet-silu-tq1.gguf'))).metadata);
  const after = new Map((await readGguf(output)).metadata);
  assert.equal(after.get('general.file_type'), { type: 'uint32', value: 37 });
  for (const metadata of [before, after]) metadata.delete('general.file_type');
  assert.equal([...after], [...before]);
});

const FILE_TYPES = { i2_s: 40, tq1_0: 36, tl1: 38, tl2: 39, f16: 1, bf16: 32 } as const;
for (const [type, number] of Object.entries(FILE_TYPES)) {
  conversion(`${type} is file type ${number}, and its matrices are of that type`, async () => {
    const { output, tensors } = await convert(B158, fresh(), { to: 'gguf', type: type as 'i2_s' });
    const gguf = await readGguf(output);
    assert.equal(gguf.metadata.get('general.file_type')?.value, number);
    const matrices = gguf.tensors.filter(({ name }) =>
      /(attn_[qkv]|attn_output|ffn_(gate|up|down))\.weight$/.test(name),
    );
    assert.is(matrices.length, 14);
    for (const { typeName } of matrices) assert.is(typeName, type.toUpperCase());
    for (const tensor of tensors) assert.ok(tensor.equal, tensor.name);
  });
}

conversion('writes the keys that engines need where the input has none', async () => {
  const packed = await convert(fixture('llama-tq2.gguf'), fresh(), { to: 'safetensors' });
  const { output } = await convert(packed.output, fresh(), { to: 'gguf', type: 'tq2_0' });
  const before = new Map((await readGguf(fixture('llama-tq2.gguf'))).metadata);
  const { metadata } = await readGguf(output);
  // The name is that of the folder; all other keys of the original are back.
  before.delete('general.name');
  for (const [key, entry] of before) assert.equal(metadata.get(key), entry, key);
  assert.is(metadata.get('llama.attention.key_length')?.value, 64);
  assert.is(metadata.get('tokenizer.ggml.add_bos_token')?.value, true);
});

for (const [type, most] of [
  ['f16', 0],
  ['q8_0', 0.02],
  ['q6_k', 0.1],
  ['q4_0', 0.5],
] as const) {
  conversion(`--embed-type ${type} says how much it rounds`, async () => {
    const { tensors } = await convert(B158, fresh(), { to: 'gguf', embedType: type });
    const [embedding, ...rest] = tensors;
    assert.is(embedding.to, type);
    assert.is(embedding.equal, most === 0);
    assert.ok(embedding.greatestError <= most && embedding.greatestError > most / 1000 - (most === 0 ? 1 : 0));
    for (const tensor of rest) assert.ok(tensor.equal, tensor.name);
  });
}

const REFUSED: [string, string, Parameters<typeof convert>[2], RegExp, RegExp][] = [
  [
    'blocks that rows do not fill',
    'b158-ragged-i2s.gguf',
    { to: 'gguf', type: 'tq2_0' },
    /attn_q\.weight.*tq2_0/,
    /i2_s/,
  ],
  [
    'blocks that embeddings do not fill',
    'b158-ragged-i2s.gguf',
    { to: 'gguf', embedType: 'q6_k' },
    /token_embd.*q6_k: 384/,
    /f16, q8_0, q4_0/,
  ],
  [
    'a type that SafeTensors have not',
    'b158-i2s.gguf',
    { to: 'safetensors', type: 'tl2' },
    /cannot hold tl2/,
    /leave the type away/,
  ],
  [
    'an embedding that SafeTensors have not',
    'b158-i2s.gguf',
    { to: 'safetensors', embedType: 'q8_0' },
    /cannot hold q8_0/,
    /f16/,
  ],
];
for (const [what, name, options, message, hint] of REFUSED) {
  conversion(`refuses ${what}, and says what to do`, async () => {
    const output = fresh();
    const error = await refusal(() => convert(fixture(name), output, options));
    assert.match(error.message, message);
    assert.match(error.hint!, hint);
    assert.not(existsSync(output));
  });
}

conversion('lays TL2 out by the .ini given, and needs a section for each shape', async () => {
  const section = (m: number, k: number, bm: number) =>
    `[Kernels_${m}_${k}]\nm = ${m}\nk = ${k}\nbm = ${bm}\nbk = 96\nbmm = 32\n`;
  const shapes = [
    [256, 256],
    [128, 256],
    [512, 256],
    [256, 512],
  ] as const;
  const all = parseKernelConfig(shapes.map(([m, k]) => section(m, k, 64)).join(''), 'all.ini');
  const { output, config } = await convert(B158, fresh(), { to: 'gguf', type: 'tl2', config: all });
  assert.is(config, 'all.ini');
  assert.not(existsSync(`${output}.ini`));
  await importModel(output, { config: all });
  assert.match((await refusal(() => importModel(output))).message, /\.ini/);

  const some = parseKernelConfig(section(256, 256, 64), 'some.ini');
  const missing = await refusal(() => convert(B158, fresh(), { to: 'gguf', type: 'tl2', config: some }));
  assert.match(missing.message, /tensor blk\.0\.attn_k\.weight: some\.ini has no section for its 128 × 256/);
  const misfit = parseKernelConfig(shapes.map(([m, k]) => section(m, k, m === 128 ? 96 : 64)).join(''), 'misfit.ini');
  const unfit = await refusal(() => convert(B158, fresh(), { to: 'gguf', type: 'tl2', config: misfit }));
  assert.match(unfit.message, /tensor blk\.0\.attn_k\.weight cannot be stored as tl2: the tile bm = 96/);
});

conversion('writes the tiles that it chose beside the file', async () => {
  const { output, config } = await convert(B158, fresh(), { to: 'gguf', type: 'tl1' });
  assert.is(config, `${output}.ini`);
  const { sections } = await readKernelConfig(config!);
  assert.equal(sections.map(({ m, k }) => `${m} × ${k}`).sort(), ['128 × 256', '256 × 256', '256 × 512', '512 × 256']);
});

conversion('a model may take its own place', async () => {
  const path = join(folder, 'itself.gguf');
  writeFileSync(path, readFileSync(B158));
  await convert(path, path, { to: 'gguf', type: 'tq1_0' });
  await convert(path, path, { to: 'gguf', type: 'i2_s' });
  assert.ok(readFileSync(path).equals(readFileSync(B158)));
});

conversion('replaces a folder of a model, and no other', async () => {
  const output = fresh();
  await convert(B158, output, { to: 'safetensors' });
  await convert(fixture('llama-tq2.gguf'), output, { to: 'safetensors' });
  assert.is((await importModel(output)).architecture, 'llama');
  writeFileSync(join(output, 'thesis.txt'), 'years of work');
  const error = await refusal(() => convert(B158, output, { to: 'safetensors' }));
  assert.match(error.message, /holds thesis\.txt, which would be lost/);
  assert.is((await importModel(output)).architecture, 'llama');
});

conversion('refuses an output of the wrong kind', async () => {
  const aFolder = fresh();
  mkdirSync(aFolder);
  assert.match((await refusal(() => convert(B158, aFolder, { to: 'gguf' }))).message, /is a folder/);
  const aFile = fresh();
  writeFileSync(aFile, '');
  assert.match((await refusal(() => convert(B158, aFile, { to: 'safetensors' }))).message, /is a folder, with config/);
  const nowhere = join(folder, 'no', 'such', 'folder.gguf');
  assert.match((await refusal(() => convert(B158, nowhere, { to: 'gguf' }))).message, /ENOENT/);
});

conversion(
  'a name of a SafeTensors file gets its settings beside it, never in the place of another model’s',
  async () => {
    const place = fresh();
    mkdirSync(place);
    const output = join(place, 'one.safetensors');
    for (const again of [false, true]) {
      assert.is((await convert(B158, output, { to: 'safetensors' })).output, output, `again: ${again}`);
      assert.equal(
        readdirSync(place).filter((name) => !name.endsWith('.json')),
        ['one.safetensors'],
      );
    }
    assert.is((await importModel(output)).hyper.layers, (await importModel(B158)).hyper.layers);
    const other = await refusal(() => convert(B158, join(place, 'two.safetensors'), { to: 'safetensors' }));
    assert.match(other.message, /holds the config\.json of another model/);
  },
);

conversion('masters of ternary weights stay real numbers where real numbers are asked for', async () => {
  const real = await convert(B158, fresh(), { to: 'gguf', type: 'f16' });
  const { tensors, notes } = await convert(real.output, fresh(), { to: 'gguf', type: 'bf16' });
  assert.match(notes.join(), /masters .* stay real numbers/);
  const query = tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  assert.equal([query.from, query.to, query.equal], ['f16', 'bf16', false]);
  assert.ok(query.greatestError > 0 && query.greatestError < 2 ** -11);
});

conversion('quantises what is not near ternary only if it is made to', async () => {
  const description = {
    architecture: 'bitnet-b1.58',
    embedding: 128,
    ffn: 256,
    layers: 1,
    heads: 2,
    kvHeads: 2,
  } as const;
  const { file } = synthetic({
    ...description,
    headDim: 64,
    vocab: 64,
    ropeBase: 1e4,
    epsilon: 1e-5,
    embeddingEncoding: 'f16',
    seed: 5,
  });
  const start = join(folder, 'uniform.gguf');
  writeFileSync(start, file);
  const real = await convert(start, fresh(), { to: 'gguf', type: 'f16' });
  const bytes = readFileSync(real.output);
  const { offset } = (await readGguf(real.output)).tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  // Spread evenly from -1 to 1.
  for (let i = 0; i < 128 * 128; i++) bytes.writeUInt16LE(toFloat16(((i * 37) % 2048) / 1024 - 1), offset + 2 * i);
  writeFileSync(real.output, bytes);
  assert.match((await refusal(() => convert(real.output, fresh(), { to: 'gguf' }))).message, /blk\.0\.attn_q\.weight/);
  const forced = await convert(real.output, fresh(), { to: 'gguf', force: true });
  assert.is(forced.tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!.to, 'i2_s');
});

conversion('tells how far it is, stage by stage', async () => {
  const seen: ConvertProgress[] = [];
  await convert(B158, fresh(), { to: 'gguf', type: 'tq1_0', onProgress: (progress) => seen.push(progress) });
  assert.equal([...new Set(seen.map(({ stage }) => stage))], ['survey', 'write', 'check']);
  for (const stage of ['survey', 'write', 'check']) {
    const fractions = seen.filter((progress) => progress.stage === stage).map(({ fraction }) => fraction);
    assert.equal(
      fractions,
      [...fractions].sort((a, b) => a - b),
    );
    assert.is(fractions.at(-1), 1);
  }
});

for (const stage of ['survey', 'write', 'check'] as const) {
  conversion(`an abort in stage ${stage} leaves what was there, and nothing else`, async () => {
    const place = fresh();
    mkdirSync(place);
    const output = join(place, 'model.gguf');
    writeFileSync(output, 'an older model');
    const stop = new AbortController();
    const error = await convert(B158, output, {
      to: 'gguf',
      type: 'tl2',
      signal: stop.signal,
      onProgress: (progress) => progress.stage === stage && stop.abort(),
    }).catch((reason) => reason);
    assert.is(error.name, 'AbortError');
    assert.equal(readdirSync(place), ['model.gguf']);
    assert.is(readFileSync(output, 'utf8'), 'an older model');
  });
}

conversion('rows move between the two ways to pair what rotates', () => {
  const ir = sketch({
    architecture: 'llama',
    heads: 2,
    kvHeads: 1,
    headDim: 8,
    embedding: 16,
    rope: { dimensions: 6 },
  });
  const query = ir.tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  const order = [...rowOrder(query, ir.hyper, 'half')!];
  // Of a head of 8 rows 6 rotate: pairs (0, 1), (2, 3), (4, 5) become (0, 3), (1, 4), (2, 5).
  assert.equal(order, [0, 2, 4, 1, 3, 5, 6, 7, 8, 10, 12, 9, 11, 13, 14, 15]);
  const halves = { ...ir.hyper, rope: { ...ir.hyper.rope, pairs: 'half' as const } };
  const back = [...rowOrder(query, halves, 'interleaved')!];
  assert.equal(
    back.map((row) => order[row]),
    Array.from({ length: 16 }, (_, row) => row),
  );
  assert.is(rowOrder(query, ir.hyper, 'interleaved'), undefined);
  const value = ir.tensors.find(({ name }) => name === 'blk.0.attn_v.weight')!;
  assert.is(rowOrder(value, ir.hyper, 'half'), undefined);
});

conversion.run();
