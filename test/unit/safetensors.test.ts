import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type SafetensorsSource, writeSafetensors } from '../../compiler/export/safetensors.ts';
import { readSafetensors } from '../../compiler/import/safetensors/reader.ts';
import { bf16, f32, packed, safetensorsBytes, withHeader } from '../safetensors-bytes.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('safetensors');
const path = join(folder, 'case.safetensors');
const read = (bytes: Buffer) => {
  writeFileSync(path, bytes);
  return readSafetensors(path);
};

test('packing as transformers documents it', () => {
  // The example of unpack_weights: bits 0 and 1 are the first quarter of the rows, 6 and 7 the last.
  const weights = [0, -1, -1, 1, -1, 1, -1, 1, 1, 0, 0, -1, 1, -1, 1, -1];
  assert.equal([...packed(8, 2, weights).data], [0b10100001, 0b00011000, 0b10010000, 0b00001010]);
});

test('a file: tensors in the order of their data, with absolute offsets', async () => {
  const bytes = safetensorsBytes({ b: bf16([2, 3], [1, 2, 3, 4, 5, 6]), a: f32([], [7]), none: f32([0, 4], []) });
  const { tensors, metadata, fileBytes } = await read(bytes);
  assert.equal(metadata, { format: 'pt' });
  assert.is(fileBytes, bytes.length);
  const data = bytes.length - 16;
  assert.equal(tensors, [
    { name: 'b', dtype: 'BF16', shape: [2, 3], offset: data, bytes: 12 },
    { name: 'a', dtype: 'F32', shape: [], offset: data + 12, bytes: 4 },
    { name: 'none', dtype: 'F32', shape: [0, 4], offset: data + 16, bytes: 0 },
  ]);
});

test('headers may list tensors in any order, be padded with spaces, and have no metadata', async () => {
  const entry = (begin: number) => ({ dtype: 'U8', shape: [2], data_offsets: [begin, begin + 2] });
  const json = `${JSON.stringify({ late: entry(2), early: entry(0) })}      `;
  const { tensors } = await read(withHeader(json, Buffer.alloc(4)));
  assert.equal(
    tensors.map(({ name, offset }) => [name, offset - json.length - 8]),
    [
      ['early', 0],
      ['late', 2],
    ],
  );
  assert.equal((await read(withHeader('{}'))).tensors, []);
});

test('names that mean something in JavaScript are names', async () => {
  const json =
    '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"constructor":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}';
  const { tensors } = await read(withHeader(json, Buffer.alloc(2)));
  assert.equal(
    tensors.map(({ name }) => name),
    ['__proto__', 'constructor'],
  );
});

/** A file taken apart by the format's definition. */
function takeApart(bytes: Buffer): { header: Record<string, unknown>; data: Buffer } {
  const length = Number(bytes.readBigUInt64LE());
  return { header: JSON.parse(bytes.toString('utf8', 8, 8 + length)), data: bytes.subarray(8 + length) };
}

const source = (
  name: string,
  dtype: SafetensorsSource['dtype'],
  shape: number[],
  ...chunks: Buffer[]
): SafetensorsSource => ({
  name,
  dtype,
  shape,
  async *data() {
    yield* chunks;
  },
});

test('a file that is written: aligned, wide elements first, nothing between', async () => {
  await writeSafetensors(
    path,
    [
      source('codes', 'U8', [3], Buffer.from([1, 2]), Buffer.from([3])),
      source('half', 'F16', [1, 1], Buffer.from([4, 5])),
      source('single', 'F32', [], Buffer.from([6, 7, 8, 9])),
      source('bytes', 'I8', [0]),
    ],
    { made: 'here' },
  );
  const bytes = readFileSync(path);
  const { header, data } = takeApart(bytes);
  assert.is((bytes.length - data.length) % 8, 0);
  assert.equal(header, {
    __metadata__: { made: 'here' },
    single: { dtype: 'F32', shape: [], data_offsets: [0, 4] },
    half: { dtype: 'F16', shape: [1, 1], data_offsets: [4, 6] },
    codes: { dtype: 'U8', shape: [3], data_offsets: [6, 9] },
    bytes: { dtype: 'I8', shape: [0], data_offsets: [9, 9] },
  });
  assert.equal([...data], [6, 7, 8, 9, 4, 5, 1, 2, 3]);
  assert.is((await readSafetensors(path)).tensors.length, 4);
});

test('a file that fails is not there, and neither is a part of it', async () => {
  const target = join(folder, 'failed.safetensors');
  const short = source('t', 'F32', [2], Buffer.alloc(4));
  assert.match((await refusal(() => writeSafetensors(target, [short]))).message, '4 bytes of data instead of 8');
  const broken: SafetensorsSource = {
    ...short,
    data() {
      throw new Error('no data');
    },
  };
  try {
    await writeSafetensors(target, [broken]);
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'no data');
  }
  assert.not.ok(existsSync(target));
  assert.equal(readdirSync(folder), ['case.safetensors']);
  const nowhere = join(folder, 'missing', 'file.safetensors');
  assert.match((await refusal(() => writeSafetensors(nowhere, []))).message, 'cannot write');
});

test.run();
