import { ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import { BitnetError } from '../../errors.ts';
import { GgufBytes, smallModel } from '../gguf-bytes.ts';

const folder = mkdtempSync(join(tmpdir(), 'bitnet-bad-gguf-'));
const path = join(folder, 'case.gguf');

const bad = suite('bad gguf');
bad.after(() => rmSync(folder, { recursive: true }));

/** The BitnetError that `work` fails with, or undefined if it succeeds; any other error fails the test. */
async function outcome(work: Promise<unknown>): Promise<BitnetError | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof BitnetError) return error;
    throw error;
  }
}

async function refusal(file: GgufBytes | Buffer): Promise<BitnetError> {
  writeFileSync(path, file instanceof GgufBytes ? file.build() : file);
  const error = await outcome(importModel(path));
  assert.ok(error, 'it should have been refused');
  return error!;
}

for (const byteOrder of ['little', 'big'] as const) {
  bad(`refuses every truncation, ${byteOrder}-endian`, async () => {
    const bytes = smallModel({ byteOrder }).build();
    writeFileSync(path, bytes);
    assert.is(await outcome(importModel(path)), undefined);
    const file = openSync(path, 'r+');
    for (let length = bytes.length - 1; length >= 0; length--) {
      ftruncateSync(file, length);
      const error = await outcome(importModel(path));
      assert.ok(error, `${length} of ${bytes.length} bytes were taken for a whole file`);
      assert.ok(error!.message.includes(path));
    }
  });
}

bad('takes or refuses a thousand random corruptions, and never fails otherwise', async () => {
  const whole = smallModel().floats('rope_freqs.weight', [1, 8]);
  const bytes = whole.build();
  const headerBytes = whole.header().length;
  let state = 12345;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  writeFileSync(path, bytes);
  const file = openSync(path, 'r+');
  let refused = 0;
  for (let i = 0; i < 1000; i++) {
    const corrupt = Buffer.from(bytes);
    for (let changes = 1 + random(4); changes > 0; changes--) {
      const value = [0, 255, 128, 1, random(256)][random(5)]!;
      corrupt[random(headerBytes)] = value;
    }
    writeSync(file, corrupt, 0, corrupt.length, 0);
    await outcome(readGguf(path));
    if ((await outcome(importModel(path))) !== undefined) refused++;
  }
  assert.ok(refused > 500 && refused < 1000, `${refused} refused`);
});

bad('says where and what', async () => {
  const file = new GgufBytes().text('general.architecture', 'llama');
  const error = await refusal(file.raw('k', 8, file.integer(8, 2 ** 40)).floats('t', [1]));
  assert.match(error.message, /case\.gguf: 1099511627776 bytes of text cannot be in the \d+ bytes that follow/);
  assert.match(error.message, /\(at byte 82 of \d+, reading the metadata of k\)/);
  assert.match(error.hint!, /truncated or corrupt: download it again.*sha256/);
});

bad('refuses counts, lengths and offsets that the file cannot hold', async () => {
  const file = new GgufBytes();
  const counted = (tensors: number | bigint, keys: number | bigint) =>
    Buffer.concat([
      Buffer.from('GGUF'),
      file.integer(4, 3),
      file.integer(8, tensors),
      file.integer(8, keys),
      Buffer.alloc(64),
    ]);
  const list = (type: number, count: number | bigint) =>
    new GgufBytes().raw('k', 9, file.integer(4, type), file.integer(8, count)).floats('t', [1]);
  const tensor = (sizes: (number | bigint)[], type = 0, at: number | bigint = 0) =>
    new GgufBytes().tensor('t', sizes, type, Buffer.alloc(128), at);
  const cases: [GgufBytes | Buffer, RegExp][] = [
    [counted(2n ** 63n, 0), /9223372036854775808 tensors cannot be/],
    [counted(0, 1e6), /1000000 metadata keys cannot be/],
    [list(8, 2n ** 61n), /array elements cannot be/],
    [list(0, 1e9), /array elements cannot be/],
    [list(9, 1), /arrays of arrays are not supported/],
    [list(13, 1), /no metadata type 13/],
    [new GgufBytes().raw('k', 99).floats('t', [1]), /no metadata type 99/],
    [new GgufBytes().raw('k', 7, file.integer(1, 2)).floats('t', [1]), /truth value is 2/],
    [new GgufBytes().u32('', 1).floats('t', [1]), /name is empty/],
    [new GgufBytes().u32('a\u001b[31m', 1).floats('t', [1]), /not printable/],
    [new GgufBytes().u32('k'.repeat(300), 1).floats('t', [1]), /too long/],
    [new GgufBytes().u32('k', 1).u32('k', 1).floats('t', [1]), /key k is there twice/],
    [new GgufBytes().floats('t', [1]).floats('t', [1]), /tensor t is there twice/],
    [new GgufBytes().u32('general.alignment', 0).floats('t', [1]), /alignment is 0/],
    [new GgufBytes().u32('general.alignment', 48).floats('t', [1]), /alignment is 48/],
    [new GgufBytes().text('general.alignment', '32').floats('t', [1]), /alignment is 32, which/],
    [tensor([]), /0 dimensions/],
    [tensor([1, 1, 1, 1, 1]), /5 dimensions/],
    [tensor([0]), /shape 0 cannot be/],
    [tensor([2n ** 32n, 2n ** 32n]), /shape 4294967296 × 4294967296 cannot be/],
    [tensor([2n ** 64n - 1n]), /cannot be/],
    [tensor([33]), /132 bytes of data at \d+ go past the file's end/],
    [tensor([32], 0, 4), /not aligned to 32/],
    [tensor([32], 0, 32), /go past the file's end/],
    [tensor([32], 0, 2n ** 64n - 32n), /past the file's end/],
    [tensor([32], 134, 160), /past the file's end/],
    [tensor([48], 8), /48 values do not fill whole q8_0 blocks of 32/],
    [tensor([2n ** 20n, 2n ** 30n], 38), /\d{15} bytes of data at \d+ go past the file's end/],
    [tensor([2n ** 20n, 2n ** 30n], 39), /\d{15} bytes of data at \d+ go past the file's end/],
    [tensor([2n ** 20n, 2n ** 30n], 42), /go past the file's end/],
    [tensor([2n ** 30n, 2n ** 20n], 134), /go past the file's end/],
    [tensor([64, 3], 335), /3 rows do not fill whole iq2_bn_r4 blocks of 4/],
    [tensor([96, 2], 135), /96 values do not fill whole iq2_bn blocks of 64/],
    [tensor([64, 5], 36), /320 values do not fill whole i2_s blocks of 128/],
  ];
  for (const [bytes, message] of cases) assert.match((await refusal(bytes)).message, message);
});

bad('refuses a vocabulary beyond its bounds in a file that could hold it', async () => {
  const file = new GgufBytes();
  // Beyond the header the file is a hole of 300 MB: zeros, that is empty strings or keys without a name.
  const sparse = async (bytes: Buffer) => {
    writeFileSync(path, bytes);
    const handle = openSync(path, 'r+');
    ftruncateSync(handle, 300e6);
    return (await outcome(readGguf(path)))!.message;
  };
  const start = (keys: number) =>
    Buffer.concat([Buffer.from('GGUF'), file.integer(4, 3), file.integer(8, 0), file.integer(8, keys)]);
  const key = Buffer.concat([file.string('k'), file.integer(4, 9), file.integer(4, 8), file.integer(8, 30e6)]);
  assert.match(await sparse(Buffer.concat([start(1), key])), /more than 1500000 array elements/);
  assert.match(await sparse(start(1e6)), /1000000 metadata keys are more than the limit/);
  const text = Buffer.concat([file.string('k'), file.integer(4, 8), file.integer(8, 200e6)]);
  assert.match(await sparse(Buffer.concat([start(1), text])), /header is longer than 33554432 bytes/);
});

bad('names an architecture that is not ours, and those that are', async () => {
  const error = await refusal(new GgufBytes().text('general.architecture', 'mamba'));
  assert.match(error.message, /'mamba' is not supported/);
  assert.match(error.hint ?? '', 'bitnet-b1.58');
});

bad('refuses tokenizers that do not hold together', async () => {
  const model = (change: (file: GgufBytes) => GgufBytes) => {
    const file = new GgufBytes().text('general.architecture', 'llama').u32('llama.block_count', 1);
    file.u32('llama.embedding_length', 4).u32('llama.feed_forward_length', 4).u32('llama.context_length', 8);
    file.u32('llama.attention.head_count', 2).f32('llama.attention.layer_norm_rms_epsilon', 0.5);
    return change(file).tensor('token_embd.weight', [4, 4], 0, Buffer.alloc(64));
  };
  const bpe = (file: GgufBytes) => file.text('tokenizer.ggml.model', 'gpt2').texts('tokenizer.ggml.tokens', ['a', 'b']);
  const spm = (file: GgufBytes) =>
    file.text('tokenizer.ggml.model', 'llama').texts('tokenizer.ggml.tokens', ['a', 'b']);
  const cases: [(file: GgufBytes) => GgufBytes, RegExp][] = [
    [(file) => file, /tokenizer\.ggml\.model is missing/],
    [(file) => file.text('tokenizer.ggml.model', 'bert'), /"bert", which is not supported/],
    [(file) => file.text('tokenizer.ggml.model', 'gpt2'), /tokens is missing or empty/],
    [(file) => file.text('tokenizer.ggml.model', 'gpt2').u32('tokenizer.ggml.tokens', 1), /not a list of string/],
    [
      (file) => file.text('tokenizer.ggml.model', 'gpt2').texts('tokenizer.ggml.tokens', [...'abcde']),
      /5 tokens, more than/,
    ],
    [(file) => bpe(file).texts('tokenizer.ggml.merges', ['a b', 'ab']), /entry 1 that is not two tokens/],
    [(file) => bpe(file).list('tokenizer.ggml.token_type', 5, [file.integer(4, 1)]), /1 entries for 2 tokens/],
    [
      (file) => bpe(file).list('tokenizer.ggml.token_type', 5, [file.integer(4, 1), file.integer(4, 7)]),
      /gives token 1 the type 7/,
    ],
    [(file) => bpe(file).raw('tokenizer.ggml.bos_token_id', 5, file.integer(4, -1)), /bos_token_id is -1/],
    [(file) => spm(file), /scores is missing/],
    [
      (file) => spm(file).list('tokenizer.ggml.scores', 6, [file.float(4, 1), file.float(4, Number.NaN)]),
      /gives token 1 the score NaN/,
    ],
  ];
  for (const [change, message] of cases) assert.match((await refusal(model(change))).message, message);
});

bad.run();
