import { copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { writeGguf } from '../../compiler/export/gguf.ts';
import { encodeTernary } from '../../compiler/import/encodings/index.ts';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import type { TableTile } from '../../compiler/ir/model.ts';
import { type KernelConfig, parseKernelConfig } from '../../compiler/kernels/config.ts';
import { packageRoot } from '../../package-root.ts';
import { GgufBytes, smallModel } from '../gguf-bytes.ts';
import { refusal } from '../support/refusal.ts';

const folder = mkdtempSync(join(tmpdir(), 'bitnet-gguf-types-'));
const path = join(folder, 'case.gguf');
const storyteller = join(packageRoot(), 'models/storyteller-25m-i2_s.gguf');

const types = suite('gguf types');
types.after(() => rmSync(folder, { recursive: true }));

function save(file: GgufBytes): string {
  writeFileSync(path, file.build());
  return path;
}

/** How a tensor of 64 × 384 weights that takes so many bytes is listed, in a file that says no more of itself. */
async function listed(type: number, bytes: number) {
  const { tensors } = await readGguf(save(new GgufBytes().tensor('t', [384, 64], type, Buffer.alloc(bytes))));
  return [tensors[0]!.typeName, tensors[0]!.bytes];
}

types('tells types of one number apart by the space that they take', async () => {
  const cases: [number, number, string][] = [
    [36, 6144 + 32, 'I2_S'],
    [36, 768 * 18, 'IQ4_NL_4_4'],
    [37, 24576, 'I8_S'],
    [37, 768 * 18, 'IQ4_NL_4_8'],
    [38, 6144 + 32, 'TL1'],
    [38, 768 * 18, 'IQ4_NL_8_8'],
    [39, 5824 + 32, 'TL2'],
    [39, 768 * 17, 'MXFP4'],
    [42, 5824 + 32, 'TL2'],
    [42, 384 * 18, 'Q2_0'],
    [42, 192 * 34, 'Q2_0_G128'],
    [40, 384 * 36, 'NVFP4'],
    [41, 192 * 18, 'Q1_0'],
    [134, 64 * (2 + 6 * 13), 'IQ1_BN'],
    [135, 64 * (4 + 96), 'IQ2_BN'],
    [335, 64 * (4 + 96), 'IQ2_BN_R4'],
  ];
  for (const [type, bytes, name] of cases) assert.equal(await listed(type, bytes), [name, bytes]);
});

/** 256 weights of type 36 with so much space that it may be either type, in a file of such metadata. */
async function spacious(metadata: (file: GgufBytes) => GgufBytes) {
  const file = metadata(new GgufBytes()).tensor('t', [256], 36, Buffer.alloc(256)).floats('end', [1]);
  const { typeName, doubt } = (await readGguf(save(file))).tensors[0]!;
  return { typeName, doubt };
}

types('where the space does not tell, file type and architecture do, if they agree', async () => {
  const i2s = { typeName: 'I2_S', doubt: undefined };
  assert.equal(await spacious((file) => file.u32('general.file_type', 40)), i2s);
  assert.equal(await spacious((file) => file.text('general.architecture', 'bitnet-b1.58')), i2s);
  const old = await spacious((file) => file.u32('general.file_type', 25).text('general.architecture', 'llama'));
  assert.equal(old, { typeName: 'IQ4_NL_4_4', doubt: undefined });
  const nothing = await spacious((file) => file.text('general.architecture', 'llama'));
  assert.is(nothing.typeName, 'I2_S or IQ4_NL_4_4');
  assert.is(nothing.doubt, "as bitnet.cpp's I2_S it takes 96 bytes; as llama.cpp's IQ4_NL_4_4 it takes 144 bytes");
});

types('refuses an ambiguous type, with what speaks for each', async () => {
  const file = smallModel().u32('general.file_type', 25).tensor('odd', [256], 36, Buffer.alloc(256)).floats('end', [1]);
  const { message, hint } = await refusal(() => importModel(save(file)));
  assert.match(message, /the tensor odd may be I2_S or IQ4_NL_4_4: as bitnet\.cpp's I2_S it takes 96 bytes, and /);
  assert.match(
    message,
    /the architecture bitnet-b1\.58 speak for it; as .* 144 bytes, and general\.file_type 25 speak/,
  );
  assert.match(hint!, /same number/);
});

const SHAPE: [number, number] = [64, 96];
const config = (tile: TableTile, m = SHAPE[0], k = SHAPE[1]): KernelConfig =>
  parseKernelConfig(`[Kernels_0]\nm = ${m}\nk = ${k}\nbm = ${tile.BM}\nbk = ${tile.BK}\nbmm = ${tile.bm}\n`, 'k.ini');

const codes = (() => {
  const random = new Random(3);
  return Uint8Array.from({ length: SHAPE[0] * SHAPE[1] }, () => random.integer(3));
})();

for (const [encoding, type, tile] of [
  ['tl1', 38, { BM: 32, BK: 32, bm: 32 }],
  ['tl2', 39, { BM: 32, BK: 96, bm: 32 }],
  ['tl2', 42, { BM: 64, BK: 48, bm: 32 }],
] as const) {
  const weights = Buffer.from(encodeTernary(encoding, codes, 0.5, SHAPE, tile));
  const file = () => smallModel().tensor('blk.0.ffn_up.weight', [SHAPE[1], SHAPE[0]], type, weights).floats('end', [1]);

  types(`${encoding} of number ${type}: is read by the .ini of its conversion`, async () => {
    const model = await importModel(save(file()), { config: config(tile) });
    const tensor = model.tensors.find(({ name }) => name === 'blk.0.ffn_up.weight')!;
    assert.equal([tensor.encoding, tensor.tile, tensor.bytes], [encoding, tile, weights.length]);
    await using source = await ModelSource.open(model);
    const read = await source.ternary(tensor.name);
    assert.is(Buffer.compare(read.codes, codes), 0);
    assert.is(read.scale, 0.5);
  });

  types(`${encoding} of number ${type}: says what is missing of the .ini`, async () => {
    const NAME = encoding.toUpperCase();
    save(file());
    const without = await refusal(() => importModel(path));
    assert.match(
      without.message,
      new RegExp(`the ${NAME} tensor blk\\.0\\.ffn_up\\.weight of 64 × 96 weights is laid out`),
    );
    assert.match(without.hint!, /--config FILE\.ini/);
    const other = await refusal(() => importModel(path, { config: config(tile, 96, 64) }));
    assert.match(other.message, /ffn_up\.weight of 64 × 96 weights has no section in k\.ini/);
    assert.match(other.hint!, /m = 64 and k = 96/);
    const misfit = await refusal(() => importModel(path, { config: config({ ...tile, BM: 128 }) }));
    assert.match(misfit.message, /does not fit \[Kernels_0\] of k\.ini: the tile bm = 128, .*divide the rows/);
  });
}

types("reads ik_llama.cpp's rows", async () => {
  for (const [encoding, type] of [
    ['iq1_bn', 134],
    ['iq2_bn', 135],
    ['iq2_bn_r4', 335],
  ] as const) {
    const weights = Buffer.from(encodeTernary(encoding, codes, 0.5, [48, 128]));
    const model = await importModel(save(smallModel().tensor('blk.0.ffn_up.weight', [128, 48], type, weights)));
    await using source = await ModelSource.open(model);
    assert.is(source.tensor('blk.0.ffn_up.weight').encoding, encoding);
    const read = await source.ternary('blk.0.ffn_up.weight');
    assert.is(Buffer.compare(read.codes, codes), 0);
    assert.is(read.scale, 0.5);
  }
});

types('quantises plain matrices where ternary weights are expected, and nothing else', async () => {
  const values = Float32Array.from(codes, (code) => 0.125 * (code - 1));
  const exact = () => smallModel().floats('blk.0.ffn_norm.weight', [1, 2]);
  const asF32 = (file: GgufBytes, numbers: Float32Array) =>
    file.tensor('blk.0.ffn_up.weight', [96, 64], 0, Buffer.concat([...numbers].map((value) => file.float(4, value))));
  for (const byteOrder of ['little', 'big'] as const) {
    const model = await importModel(save(asF32(smallModel({ byteOrder }), values)));
    await using source = await ModelSource.open(model);
    assert.is(source.tensor('blk.0.ffn_up.weight').quantise, 'near');
    assert.is(source.tensor('token_embd.weight').quantise, undefined);
    const into = new Uint8Array(codes.length + 5).fill(7);
    const read = await source.ternary('blk.0.ffn_up.weight', into);
    assert.is(Buffer.compare(read.codes, codes), 0);
    assert.equal([read.scale, read.codes.buffer, into.at(-5)], [0.125, into.buffer, 7]);
  }

  const random = new Random(1);
  save(
    asF32(
      exact(),
      Float32Array.from(codes, () => random.normal()),
    ),
  );
  {
    await using source = await ModelSource.open(await importModel(path));
    const error = await refusal(() => source.ternary('blk.0.ffn_up.weight'));
    assert.match(error.message, /tensor blk\.0\.ffn_up\.weight: the weights are not near ternary/);
    assert.match(error.hint!, /--force/);
    assert.match((await refusal(() => source.ternary('blk.0.ffn_norm.weight'))).message, /is not ternary/);
  }
  await using forced = await ModelSource.open(await importModel(path, { force: true }));
  assert.is(forced.tensor('blk.0.ffn_up.weight').quantise, 'any');
  assert.ok((await forced.ternary('blk.0.ffn_up.weight')).scale > 0.7);
});

/** The storyteller with its I2_S tensors in another order: weight i of a tensor goes to byte and shift `place`. */
async function reordered(place: (i: number, cols: number) => [byte: number, shift: number]): Promise<string> {
  copyFileSync(storyteller, path);
  const file = openSync(path, 'r+');
  const original = readFileSync(storyteller);
  for (const { typeName, offset, shape } of (await readGguf(storyteller)).tensors) {
    if (typeName !== 'I2_S') continue;
    const cols = shape[1]!;
    const bytes = new Uint8Array((shape[0]! * cols) / 4);
    for (let i = 0; i < bytes.length * 4; i++) {
      const code = (original[offset + 32 * (i >> 7) + (i & 31)]! >> (6 - 2 * ((i >> 5) & 3))) & 3;
      const [byte, shift] = place(i, cols);
      bytes[byte]! |= code << shift;
    }
    writeSync(file, bytes, 0, bytes.length, offset);
  }
  return path;
}

const ORDERS = {
  '64': (i: number) => [16 * (i >> 6) + (i & 15), 6 - 2 * ((i >> 4) & 3)],
  '4rows': (i: number, cols: number) => {
    const row = Math.floor(i / cols);
    return [(row >> 2) * cols + (i % cols), 6 - 2 * (row & 3)];
  },
} as const satisfies Record<string, (i: number, cols: number) => [number, number]>;

for (const layout of ['64', '4rows'] as const) {
  types(`finds out that a trained model's I2_S is in the order ${layout}`, async () => {
    const original = await importModel(storyteller);
    const model = await importModel(await reordered(ORDERS[layout]));
    const encoding = layout === '64' ? 'i2_s64' : 'i2_s_r4';
    const name = 'blk.3.ffn_down.weight';
    await using source = await ModelSource.open(model);
    await using expected = await ModelSource.open(original);
    assert.equal([source.tensor(name).encoding, expected.tensor(name).encoding], [encoding, 'i2_s']);
    const [found, right] = [await source.ternary(name), await expected.ternary(name)];
    assert.is(Buffer.compare(found.codes, right.codes), 0);
    assert.is(found.scale, right.scale);
    // What the user says goes before what is found.
    const told = await importModel(path, { i2sLayout: '128' });
    assert.is(told.tensors.find((tensor) => tensor.name === name)!.encoding, 'i2_s');
  });
}

types('takes I2_S as published where nothing can be found out', async () => {
  const fixture = join(packageRoot(), 'test/fixtures/b158-ragged-i2s.gguf');
  const encodings = new Set((await importModel(fixture)).tensors.map(({ encoding }) => encoding));
  assert.ok(encodings.has('i2_s') && !encodings.has('i2_s64'));
  const told = await importModel(fixture, { i2sLayout: '64' });
  assert.ok(told.tensors.some(({ encoding }) => encoding === 'i2_s64'));
});

types('writes TL2 in the space that it is read from, and refuses what GGUF has no type for', async () => {
  const tile = { BM: 32, BK: 96, bm: 32 };
  const weights = encodeTernary('tl2', codes, 0.5, SHAPE, tile);
  const tensor = { name: 't', shape: SHAPE, encoding: 'tl2', tile, data: () => [weights] } as const;
  await writeGguf(path, new Map(), [tensor, { ...tensor, name: 'u' }]);
  const { tensors } = await readGguf(path);
  assert.equal(
    tensors.map(({ typeName, bytes }) => [typeName, bytes]),
    [
      ['TL2', weights.length],
      ['TL2', weights.length],
    ],
  );
  const packed = { name: 'p', shape: [4, 8], encoding: 'hf_u8', data: () => [new Uint8Array(8)] } as const;
  assert.match(
    (await refusal(() => writeGguf(path, new Map(), [packed]))).message,
    /tensor p cannot be stored as hf_u8/,
  );
});

types.run();
