import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { load, type Model } from '../../index.ts';
import { invoke } from '../cli/invoke.ts';
import { relativeError } from '../support/logits.ts';
import { oracleHidden } from '../support/oracle.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';

// Texts to vectors on this machine's best target, against a float64 reference.

const QWEN: Description = {
  architecture: 'qwen3',
  embedding: 64,
  ffn: 96,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 48,
  vocab: 40,
  context: 300,
  ropeBase: 1e6,
  epsilon: 1e-6,
  embeddingEncoding: 'f16',
  inputNorms: true,
  eos: 39,
  pooling: 3,
  seed: 301,
};
const GEMMA: Description = {
  ...QWEN,
  architecture: 'gemma3',
  layers: 3,
  kvHeads: 1,
  window: { positions: 50, pattern: 3 },
  eos: undefined,
  pooling: 1,
  seed: 302,
};

const folder = temporaryFolder('embed');
const out = join(folder, 'generated');
const random = new Random(5);
const textOf = (letters: number) =>
  Array.from({ length: letters }, () => String.fromCharCode(97 + random.integer(26))).join('');
const texts = [3, 40, 1, 12, 290, 16, 17, 5, 128, 33].map(textOf);
const opened: Model[] = [];
test.after(async () => {
  for (const model of opened) await model.dispose();
});

function write(description: Description) {
  const { file, weights } = synthetic(description);
  const path = join(folder, `${description.seed}.gguf`);
  writeFileSync(path, file);
  return { path, weights };
}

async function open(path: string, options: Parameters<typeof load>[1] = {}): Promise<Model> {
  const model = await load(path, { out, kv: 'f32', threads: 2, ...options });
  opened.push(model);
  return model;
}

function unit(vector: Float64Array): Float64Array {
  const length = Math.hypot(...vector);
  return vector.map((value) => value / length);
}

/** Each as close as float32 comes, but for those where one int8 was rounded the other way. */
function assertClose(actual: readonly Float32Array[], expected: readonly Float64Array[]): void {
  assert.is(actual.length, expected.length);
  const errors = expected.map((vector, i) => relativeError(actual[i]!, vector));
  assert.ok(Math.max(...errors) < 3e-2, String(errors));
  assert.ok(errors.toSorted((a, b) => a - b)[errors.length >> 1]! < 1e-4, String(errors));
}

const sameBits = (a: Float32Array, b: Float32Array) => Buffer.from(a.buffer).equals(Buffer.from(b.buffer));

test('qwen3: the last token, which the tokenizer adds, has the vector; alone or among others, in any steps', async () => {
  const { path, weights } = write(QWEN);
  const model = await open(path);
  assert.is(model.pooling, 'last');
  const ids = texts.map((text) => [...text].map((letter) => letter.charCodeAt(0) - 97).concat(39));
  const expected = ids.map((tokens) => unit(oracleHidden(QWEN, weights, tokens).at(-1)!));
  const vectors = await model.embed(texts);
  assertClose(vectors, expected);
  const others = await open(path, { threads: 1, prefillChunk: 9, sequences: 1 });
  for (const [i, text] of texts.entries()) {
    for (const one of [model, others]) {
      const [alone] = await one.embed(text);
      assert.ok(sameBits(alone!, vectors[i]!), `text ${i} is another alone`);
    }
  }
  const plain = await model.embed(texts.slice(0, 3), { normalize: false, pooling: 'cls' });
  assertClose(
    plain,
    ids.slice(0, 3).map((tokens) => oracleHidden(QWEN, weights, tokens)[0]!),
  );
  const [empty] = await model.embed('');
  assertClose([empty!], [unit(oracleHidden(QWEN, weights, [39])[0]!)]);
});

test('gemma3: the mean where the file says so, over windows shorter than the text', async () => {
  const { path, weights } = write(GEMMA);
  const model = await open(path);
  assert.is(model.pooling, 'mean');
  const expected = texts.map((text) => {
    const states = oracleHidden(
      GEMMA,
      weights,
      [...text].map((letter) => letter.charCodeAt(0) - 97),
    );
    return unit(states[0]!.map((_, d) => states.reduce((sum, state) => sum + state[d]!, 0) / states.length));
  });
  assertClose(await model.embed(texts), expected);
  const [cached] = await (await open(path, { kv: 'f16' })).embed(texts[4]!);
  assert.ok(relativeError(cached!, expected[4]!) < 0.05);
});

test('bitnet embed prints a vector a line, or JSON', async () => {
  const { path } = write(QWEN);
  const [model] = opened;
  const lines = join(folder, 'lines.txt');
  writeFileSync(lines, `${texts.slice(1, 3).join('\r\n')}\n`);
  const argv = ['embed', path, texts[0]!, '--file', lines, '--out', out, '--kv', 'f32'];
  const expected = await model!.embed(texts.slice(0, 3));
  const printed = await invoke([...argv, '--quiet']);
  assert.is(printed.code, 0, printed.stderr);
  assert.is(printed.stderr, '');
  const rows = printed.stdout.trimEnd().split('\n');
  assert.is(rows.length, 3);
  rows.forEach((row, i) => {
    assert.ok(sameBits(Float32Array.from(row.split(' '), Number), expected[i]!));
  });
  const json = await invoke([...argv, '--json', '--pooling', 'mean', '--no-normalize']);
  const { vectors, ...how } = JSON.parse(json.stdout);
  assert.equal(how, {
    pooling: 'mean',
    normalize: false,
    model: 'synthetic 301',
    target: model!.target,
    dimensions: 64,
  });
  const means = await model!.embed(texts.slice(0, 3), { pooling: 'mean', normalize: false });
  assert.ok(vectors.every((row: number[], i: number) => sameBits(Float32Array.from(row), means[i]!)));
  const piped = await invoke(['embed', path, '--file', '-', '--out', out, '--kv', 'f32'], { input: `${texts[0]}\n` });
  assert.is(piped.stdout, `${rows[0]}\n`);
});

test('bitnet embed says what is wrong', async () => {
  const { path } = write(QWEN);
  const run = (...argv: string[]) => invoke(['embed', path, ...argv, '--out', out]);
  const nothing = await run();
  assert.is(nothing.code, 2);
  assert.match(nothing.stderr, 'give a text, or a --file');
  assert.is((await run('a', '--pooling', 'max')).code, 2);
  const missing = await run('--file', join(folder, 'no-such-file'));
  assert.is(missing.code, 1);
  assert.match(missing.stderr, 'cannot read');
  const long = await run('a', 'abc'.repeat(20), '--ctx', '50');
  assert.is(long.code, 1);
  assert.match(long.stderr, 'text 2 of 2 has 61 tokens, there is room for 50');
  assert.is((await run('abc'.repeat(20), '--ctx', '50', '--truncate')).code, 0);
});

test.run();
