import { ftruncateSync, openSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensors } from '../../compiler/import/safetensors/reader.ts';
import { BitnetError } from '../../errors.ts';
import { bf16, f32, safetensorsBytes, withHeader } from '../safetensors-bytes.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('bad-safetensors');
const path = join(folder, 'case.safetensors');

const whole = safetensorsBytes({ a: f32([2, 2], [1, 2, 3, 4]), b: bf16([3], [5, 6, 7]) });

test('every truncation is refused, and the file named', async () => {
  writeFileSync(path, whole);
  await readSafetensors(path);
  const file = openSync(path, 'r+');
  for (let length = whole.length - 1; length >= 0; length--) {
    ftruncateSync(file, length);
    const { message, hint } = await refusal(() => readSafetensors(path));
    assert.ok(message.includes(path), `${length}: ${message}`);
    assert.match(hint!, 'damaged');
  }
});

test('bytes that are no tensor are refused', async () => {
  writeFileSync(path, Buffer.concat([whole, Buffer.alloc(3)]));
  assert.match((await refusal(() => readSafetensors(path))).message, '3 bytes after the last tensor');
});

const entry = (begin: number, end: number, shape: unknown = [end - begin], dtype: unknown = 'U8') =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
const HOSTILE: Record<string, [json: string, message: RegExp]> = {
  'no JSON': ['{"a":', /header is not JSON/],
  'another value': ['[]', /not a JSON object/],
  null: ['null', /not a JSON object/],
  'a name twice': [`{"a":${entry(0, 4)},"a":${entry(4, 8)}}`, /names "a" twice/],
  'a name twice, once escaped': [`{"a":${entry(0, 4)},"\\u0061" :${entry(4, 8)}}`, /names "a" twice/],
  'a key twice': ['{"a":{"dtype":"U8","dtype":"I8","shape":[8],"data_offsets":[0,8]}}', /names "dtype" twice/],
  overlap: [`{"a":${entry(0, 6)},"b":${entry(4, 8)}}`, /"b" overlaps/],
  'one within another': [`{"a":${entry(0, 8)},"b":${entry(2, 4)}}`, /"b" overlaps/],
  'the same place': [`{"a":${entry(0, 8)},"b":${entry(0, 8)}}`, /overlaps/],
  'a hole': [`{"a":${entry(0, 3)},"b":${entry(4, 8)}}`, /1 bytes before the tensor "b"/],
  'past the end': [`{"a":${entry(0, 9)}}`, /"a" ends 1 bytes past/],
  'far past the end': [`{"a":${entry(2 ** 52, 2 ** 52 + 8)}}`, /"a" ends \d+ bytes past/],
  backwards: [`{"a":${entry(8, 0, [8])}}`, /takes 8 bytes, but its data_offsets give -8/],
  'another size': [`{"a":${entry(0, 8, [3], 'F32')}}`, /takes 12 bytes, but its data_offsets give 8/],
  'a huge shape': [`{"a":${entry(0, 8, [2 ** 40, 2 ** 40])}}`, /takes 1\.2089258196146292e\+24 bytes/],
  'a product that wraps around': [`{"a":${entry(0, 0, [2 ** 32, 2 ** 32])}}`, /but its data_offsets give 0/],
  'a negative shape': [`{"a":${entry(0, 8, [-8, -1])}}`, /no valid shape/],
  'half a value': [`{"a":${entry(0, 8, [1.5])}}`, /no valid shape/],
  'too many dimensions': [`{"a":${entry(0, 8, [8, 1, 1, 1, 1, 1, 1, 1, 1])}}`, /no valid shape/],
  'no shape': ['{"a":{"dtype":"U8","data_offsets":[0,8]}}', /no valid shape/],
  'three offsets': ['{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,4,8]}}', /no valid data_offsets/],
  'offsets as text': ['{"a":{"dtype":"U8","shape":[8],"data_offsets":["0","8"]}}', /no valid data_offsets/],
  'an offset that is no integer': [
    '{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,1e300]}}',
    /no valid data_offsets/,
  ],
  'an unknown type': [`{"a":${entry(0, 8, [8], 'F7')}}`, /type "F7"/],
  'a type of JavaScript': [`{"a":${entry(0, 8, [8], 'toString')}}`, /type "toString"/],
  'no description': ['{"a":5}', /"a" has no description/],
  'no name': [`{"":${entry(0, 8)}}`, /name has 0 characters/],
  'an endless name': [`{"${'n'.repeat(2000)}":${entry(0, 8)}}`, /name has 2000 characters/],
  'metadata that is a list': [`{"__metadata__":[],"a":${entry(0, 8)}}`, /__metadata__/],
  'metadata that is not text': [`{"__metadata__":{"n":1},"a":${entry(0, 8)}}`, /__metadata__/],
  'deep nesting': [
    `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    /not valid|no valid|no description|not supported/,
  ],
};
for (const [title, [json, message]] of Object.entries(HOSTILE)) {
  test(`refused: ${title}`, async () => {
    writeFileSync(path, withHeader(json, Buffer.alloc(8)));
    assert.match((await refusal(() => readSafetensors(path))).message, message);
  });
}

test('bytes that are no UTF-8 are refused', async () => {
  const bytes = withHeader(`{"a":${entry(0, 8)}}`, Buffer.alloc(8));
  bytes[10] = 0xff;
  writeFileSync(path, bytes);
  assert.match((await refusal(() => readSafetensors(path))).message, 'not JSON');
});

test('a length that the file cannot hold is refused before anything is read', async () => {
  for (const length of [2n ** 64n - 1n, 2n ** 53n, 100_000_001n, 9n]) {
    const bytes = Buffer.alloc(16);
    bytes.writeBigUInt64LE(length);
    writeFileSync(path, bytes);
    assert.match((await refusal(() => readSafetensors(path))).message, `would have ${length} bytes`);
  }
  writeFileSync(path, '');
  // A sparse file of 1 GiB whose header would be all of it.
  truncateSync(path, 2 ** 30);
  const file = openSync(path, 'r+');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(2n ** 30n - 8n);
  writeSync(file, length, 0, 8, 0);
  assert.match((await refusal(() => readSafetensors(path))).message, 'would have');
});

test('a thousand random corruptions are taken or refused, and nothing else happens', async () => {
  let state = 4711;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const headerBytes = 8 + Number(whole.readBigUInt64LE());
  let refused = 0;
  writeFileSync(path, whole);
  const file = openSync(path, 'r+');
  for (let i = 0; i < 1000; i++) {
    const corrupt = Buffer.from(whole);
    for (let changes = 1 + random(3); changes > 0; changes--) corrupt[random(headerBytes)] = random(256);
    writeSync(file, corrupt, 0, corrupt.length, 0);
    try {
      await readSafetensors(path);
    } catch (error) {
      assert.instance(error, BitnetError);
      refused++;
    }
  }
  assert.ok(refused > 500 && refused < 1000, `${refused} refused`);
});

test('what is no file is refused', async () => {
  assert.match((await refusal(() => readSafetensors(folder))).message, folder);
  assert.match((await refusal(() => readSafetensors(join(folder, 'missing')))).message, 'cannot read');
});

test.run();
