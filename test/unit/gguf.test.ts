import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeGguf } from '../../compiler/export/gguf.ts';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { llama3Factors } from '../../compiler/import/gguf/rope.ts';
import { importModel } from '../../compiler/import/index.ts';
import { packageRoot } from '../../package-root.ts';
import { GgufBytes, smallModel } from '../gguf-bytes.ts';
import { refusal } from '../support/refusal.ts';

const folder = mkdtempSync(join(tmpdir(), 'bitnet-gguf-'));
const path = join(folder, 'case.gguf');
const fixtures = join(packageRoot(), 'test/fixtures');

const gguf = suite('gguf');
gguf.after(() => rmSync(folder, { recursive: true }));

function save(file: GgufBytes): string {
  writeFileSync(path, file.build());
  return path;
}

for (const byteOrder of ['little', 'big'] as const) {
  for (const version of [2, 3]) {
    gguf(`reads all types of metadata, version ${version}, ${byteOrder}-endian`, async () => {
      const file = new GgufBytes({ version, byteOrder });
      file.raw('k.u8', 0, file.integer(1, 200)).raw('k.i8', 1, file.integer(1, -100));
      file.raw('k.u16', 2, file.integer(2, 60000)).raw('k.i16', 3, file.integer(2, -30000));
      file.raw('k.u32', 4, file.integer(4, 4e9)).raw('k.i32', 5, file.integer(4, -2e9));
      file.f32('k.f32', 1.5).raw('k.bool', 7, file.integer(1, 1)).text('k.text', 'naïve ☃');
      file.raw('k.u64', 10, file.integer(8, 2n ** 60n)).raw('k.small', 10, file.integer(8, 77));
      file.raw('k.i64', 11, file.integer(8, -5)).raw('k.f64', 12, file.float(8, Math.PI));
      file
        .texts('k.texts', ['', 'x', 'yz'])
        .list('k.none', 4, [])
        .list('k.i16s', 3, [file.integer(2, -2)]);
      file.floats('t', [1, 2]);
      const read = await readGguf(save(file));
      assert.is(read.version, version);
      assert.is(read.byteOrder, byteOrder);
      assert.equal(
        [...read.metadata],
        [
          ['k.u8', { type: 'uint8', value: 200 }],
          ['k.i8', { type: 'int8', value: -100 }],
          ['k.u16', { type: 'uint16', value: 60000 }],
          ['k.i16', { type: 'int16', value: -30000 }],
          ['k.u32', { type: 'uint32', value: 4e9 }],
          ['k.i32', { type: 'int32', value: -2e9 }],
          ['k.f32', { type: 'float32', value: 1.5 }],
          ['k.bool', { type: 'bool', value: true }],
          ['k.text', { type: 'string', value: 'naïve ☃' }],
          ['k.u64', { type: 'uint64', value: 2n ** 60n }],
          ['k.small', { type: 'uint64', value: 77 }],
          ['k.i64', { type: 'int64', value: -5 }],
          ['k.f64', { type: 'float64', value: Math.PI }],
          ['k.texts', { type: 'array', elementType: 'string', value: ['', 'x', 'yz'] }],
          ['k.none', { type: 'array', elementType: 'uint32', value: [] }],
          ['k.i16s', { type: 'array', elementType: 'int16', value: [-2] }],
        ],
      );
    });

    gguf(`imports a model, version ${version}, ${byteOrder}-endian`, async () => {
      const model = await importModel(save(smallModel({ version, byteOrder })));
      assert.is(model.name, 'small');
      assert.is(model.architecture, 'bitnet-b1.58');
      assert.is(model.source.byteOrder, byteOrder);
      assert.equal(model.hyper, {
        layers: 1,
        embedding: 16,
        ffn: 32,
        heads: 4,
        kvHeads: 2,
        headDim: 4,
        vocab: 8,
        context: 64,
        normEpsilon: 2 ** -17,
        activation: 'relu2',
        rope: { dimensions: 4, base: 500000, pairs: 'half', scaling: { kind: 'none' } },
      });
      assert.equal(model.tokenizer, {
        model: 'gpt2',
        pre: 'llama-bpe',
        tokens: ['a', 'b', 'é', 'ab', '<|eot_id|>', '</s>'],
        types: [1, 1, 1, 1, 3, 3],
        scores: [],
        merges: ['a b'],
        bos: 4,
        eos: 5,
        eot: 4,
        unknown: null,
        padding: null,
        addBos: true,
        addEos: false,
        addSpacePrefix: false,
        chatTemplate: null,
      });
      const [embedding, norm, query] = model.tensors;
      assert.equal([embedding!.shape, embedding!.encoding, embedding!.bytes], [[8, 16], 'f32', 512]);
      assert.is(norm!.offset, embedding!.offset + 512);
      assert.equal([query!.shape, query!.encoding, query!.bytes], [[16, 16], 'i2_s', 96]);
    });
  }
}

gguf('reads strings and lists that cross its window', async () => {
  const file = new GgufBytes();
  const words = Array.from({ length: 40_000 }, (_, i) => `${'w'.repeat(i % 90)}${i}`);
  file.texts('words', words).text('long', 'x'.repeat(3 << 20));
  const numbers = Array.from({ length: 300_001 }, (_, i) => i);
  file.list(
    'numbers',
    4,
    numbers.map((number) => file.integer(4, number)),
  );
  file.floats('t', [1]);
  const { metadata } = await readGguf(save(file));
  assert.ok((metadata.get('words')!.value as string[]).every((word, i) => word === words[i]));
  assert.is((metadata.get('long')!.value as string).length, 3 << 20);
  assert.ok((metadata.get('numbers')!.value as number[]).every((number, i) => number === i));
});

gguf('reads the golden models and the default model', async () => {
  const ggufs = readdirSync(fixtures).filter((name) => name.endsWith('.gguf'));
  assert.is(ggufs.length, 4);
  const shapes: string[] = [];
  for (const name of ggufs) {
    const { architecture, hyper, tensors } = await importModel(join(fixtures, name));
    const kinds = [...new Set(tensors.map((tensor) => tensor.encoding))].sort();
    shapes.push(`${name} ${architecture} ${hyper.embedding} ${hyper.ffn} ${hyper.layers} ${hyper.vocab} ${kinds}`);
  }
  assert.equal(shapes.sort(), [
    'b158-i2s.gguf bitnet-b1.58 256 512 2 512 f16,f32,i2_s',
    'b158-ragged-i2s.gguf bitnet-b1.58 384 1152 3 640 f32,i2_s,q8_0',
    'bitnet-silu-tq1.gguf bitnet 256 512 2 512 f32,tq1_0',
    'llama-tq2.gguf llama 256 512 2 512 f16,f32,tq2_0',
  ]);
  const storyteller = await importModel(join(packageRoot(), 'models/storyteller-25m-i2_s.gguf'));
  assert.is(storyteller.name, 'storyteller-25m');
  assert.is(storyteller.hyper.layers, 8);
  assert.is(storyteller.tokenizer.merges.length, 3838);
  assert.is(storyteller.tokenizer.bos, 4094);
  assert.is(storyteller.tensors.length, 90);
});

gguf('freezes the model to its leaves', async () => {
  const model = await importModel(save(smallModel()));
  assert.ok(Object.isFrozen(model) && Object.isFrozen(model.hyper.rope.scaling));
  assert.ok(Object.isFrozen(model.tensors[0]!.shape) && Object.isFrozen(model.tokenizer.tokens));
});

gguf('names a model without a name after its file', async () => {
  const file = new GgufBytes().text('general.architecture', 'llama').u32('llama.block_count', 1);
  file.u32('llama.embedding_length', 4).u32('llama.feed_forward_length', 4).u32('llama.context_length', 8);
  file.u32('llama.attention.head_count', 2).f32('llama.attention.layer_norm_rms_epsilon', 0.5);
  file.text('tokenizer.ggml.model', 'llama').texts('tokenizer.ggml.tokens', ['<unk>', '<s>', '</s>', 'x']);
  file.list(
    'tokenizer.ggml.scores',
    6,
    [0, 0, 0, -1.5].map((score) => file.float(4, score)),
  );
  file.tensor('token_embd.weight', [4, 4], 0, Buffer.alloc(64));
  const model = await importModel(save(file));
  assert.is(model.name, 'case');
  assert.is(model.hyper.kvHeads, 2);
  assert.equal(model.hyper.rope, { dimensions: 2, base: 10000, pairs: 'interleaved', scaling: { kind: 'none' } });
  const { bos, eos, unknown, addBos, addSpacePrefix, pre, scores } = model.tokenizer;
  assert.equal([bos, eos, unknown, addBos, addSpacePrefix, pre], [1, 2, 0, true, true, 'default']);
  assert.equal(scores, [0, 0, 0, -1.5]);
});

gguf('lists tensors of types that it does not know, and refuses to import them', async () => {
  const file = smallModel().tensor('extra', [256], 16, Buffer.alloc(66)).tensor('odd', [32], 999, Buffer.alloc(8));
  const { tensors } = await readGguf(save(file));
  assert.equal(
    tensors.slice(-2).map(({ typeName, bytes }) => [typeName, bytes]),
    [
      ['IQ2_XXS', 66],
      ['number 999', undefined],
    ],
  );
  const error = await refusal(() => importModel(path));
  assert.match(error.message, /tensor extra has the type IQ2_XXS/);
  assert.match(error.hint!, /I2_S, TQ1_0, TQ2_0/);
});

gguf('tells I2_S from the old type of the same number by its space', async () => {
  const file = smallModel().tensor('old', [256], 36, Buffer.alloc(144)).floats('end', [1]);
  const { tensors } = await readGguf(save(file));
  assert.is(tensors.find(({ name }) => name === 'old')!.typeName, 'IQ4_NL_4_4');
  assert.is(tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!.typeName, 'I2_S');
  assert.match((await refusal(() => importModel(path))).message, /tensor old has the type IQ4_NL_4_4/);
});

gguf('reads rope factors from their tensor, in either byte order', async () => {
  for (const byteOrder of ['little', 'big'] as const) {
    const model = await importModel(save(smallModel({ byteOrder }).floats('rope_freqs.weight', [1, 32])));
    assert.equal(model.hyper.rope.scaling, { kind: 'factors', factors: [1, 32] });
    assert.not.ok(model.tensors.some(({ name }) => name === 'rope_freqs.weight'));
  }
  for (const bad of [[1, 2, 3], [1, 0], [1, Number.NaN], [1]]) {
    const error = await refusal(() => importModel(save(smallModel().floats('rope_freqs.weight', bad))));
    assert.match(error.message, /rope_freqs\.weight/);
  }
});

gguf('scales rope linearly', async () => {
  const key = 'bitnet-b1.58.rope.scaling';
  const model = await importModel(save(smallModel().text(`${key}.type`, 'linear').f32(`${key}.factor`, 4)));
  assert.equal(model.hyper.rope.scaling, { kind: 'linear', factor: 4 });
  const error = await refusal(() =>
    importModel(save(smallModel().text(`${key}.type`, 'yarn').f32(`${key}.factor`, 4))),
  );
  assert.match(error.message, /rope\.scaling\.type is "yarn", which is not supported/);
});

gguf("computes Llama 3.1's factors", async () => {
  const key = 'bitnet-b1.58.rope.scaling';
  const file = smallModel().text(`${key}.type`, 'llama3').f32(`${key}.factor`, 8).f32(`${key}.low_freq_factor`, 1);
  file.f32(`${key}.high_freq_factor`, 4).u32(`${key}.original_context_length`, 8192);
  const { scaling } = (await importModel(save(file))).hyper.rope;
  assert.equal(scaling, { kind: 'factors', factors: [1, llama3Factors(4, 500000, LLAMA31)[1]] });

  const factors = llama3Factors(128, 500000, LLAMA31);
  assert.is(factors.length, 64);
  assert.equal([factors[0], factors[28], factors[63]], [1, 1, 8]);
  // Frequencies 29 to 34 lie between the two wavelengths.
  assert.ok(factors.slice(29, 35).every((factor, i, all) => factor > 1 && factor < 8 && factor > (all[i - 1] ?? 1)));
  assert.is(factors[35], 8);
  const wavelength = 2 * Math.PI * 500000 ** (2 * (30 / 128));
  const kept = (8192 / wavelength - 1) / 3;
  assert.ok(Math.abs(factors[30]! - 1 / ((1 - kept) / 8 + kept)) < 1e-12);
});

const LLAMA31 = { factor: 8, low: 1, high: 4, context: 8192 };

gguf('says what is wrong with a model', async () => {
  const without = (name: string) => new GgufBytes().text('general.architecture', name).floats('t', [1]);
  const cases: [GgufBytes, RegExp][] = [
    [new GgufBytes().floats('t', [1]), /general\.architecture is missing/],
    [new GgufBytes().u32('general.architecture', 3).floats('t', [1]), /general\.architecture is 3, not a text/],
    [without('llama'), /llama\.embedding_length is missing/],
    [without('a\u001b[2J'), /general\.architecture is not a name/],
    [smallModel().u32('bitnet-b1.58.attention.key_length', 7), /7 values, an odd number/],
    [smallModel().u32('bitnet-b1.58.attention.value_length', 8), /value_length differs/],
    [smallModel().u32('bitnet-b1.58.rope.dimension_count', 6), /dimension_count is 6, not an integer from 1 to 4/],
    [smallModel().u32('tokenizer.ggml.padding_token_id', 6), /padding_token_id is 6, not an integer from 0 to 5/],
    [
      smallModel().text('tokenizer.chat_template', 'x').text('tokenizer.ggml.add_bos_token', 'y'),
      /add_bos_token is "y"/,
    ],
  ];
  for (const [file, message] of cases) assert.match((await refusal(() => importModel(save(file)))).message, message);
});

gguf('refuses what is no GGUF file, and says what it is', async () => {
  assert.match((await refusal(() => importModel(join(folder, 'none')))).message, /cannot read .*ENOENT/);
  assert.match((await refusal(() => readGguf(folder))).message, /is not a file/);
  assert.match((await refusal(() => importModel(folder))).message, /config\.json is missing/);
  writeFileSync(path, 'hello');
  assert.match((await refusal(() => importModel(path))).message, /not a model file/);
  assert.match((await refusal(() => readGguf(path))).message, /file ends/);
  assert.match((await refusal(() => importModel(save(smallModel({ version: 1 }))))).message, /version 1/);
  assert.match(
    (await refusal(() => importModel(save(smallModel({ version: 4 }))))).message,
    /4 is not a known GGUF version/,
  );
});

gguf('writes what it reads, and nothing when it fails', async () => {
  const target = join(folder, 'written.gguf');
  const read = await readGguf(save(smallModel()));
  const halves = [Uint8Array.of(1, 2, 3), new Uint8Array(0), Uint8Array.of(4, 5, 6, 7, 8)];
  const tensors = [
    { name: 'a', shape: [2, 1], encoding: 'f32', data: () => halves },
    { name: 'b', shape: [128], encoding: 'i2_s', data: () => [new Uint8Array(64)] },
  ] as const;
  await writeGguf(target, read.metadata, tensors);
  const again = await readGguf(target);
  assert.equal([...again.metadata], [...read.metadata]);
  assert.equal(
    again.tensors.map(({ name, shape, typeName, bytes }) => [name, shape, typeName, bytes]),
    [
      ['a', [2, 1], 'F32', 8],
      ['b', [128], 'I2_S', 64],
    ],
  );
  assert.is(again.tensors[1]!.offset - again.tensors[0]!.offset, 32);

  const short = { name: 'a', shape: [3], encoding: 'f32', data: () => halves } as const;
  const failed = join(folder, 'failed.gguf');
  assert.match((await refusal(() => writeGguf(failed, new Map(), [short]))).message, /8 bytes of data instead of 12/);
  assert.match((await refusal(() => writeGguf(join(folder, 'no/where'), new Map(), []))).message, /cannot write/);
  assert.not.ok(readdirSync(folder).some((name) => name.startsWith('failed')));
});

gguf.run();
