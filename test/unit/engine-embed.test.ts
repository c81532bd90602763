import { setImmediate } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EmbedOptions, LoadOptions, Model } from '../../runtime/src/index.ts';
import { openArtifact } from '../../runtime/src/index.ts';
import { BOS, CONTEXT, openToy, type Toy, toyArtifact } from '../fixtures/toy-model/toy.ts';
import { refusal } from '../support/refusal.ts';

const SIZE = 32;
const opened: Model[] = [];
test.after(async () => {
  for (const model of opened) await model.dispose();
});

async function open(toy: Toy = {}, options: LoadOptions = {}): Promise<Model> {
  const model = await openToy(toy, options);
  opened.push(model);
  return model;
}

function mix(value: number): number {
  let x = Math.imul(value ^ (value >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Hidden states after each token, as the toy model computes them. */
function hiddenStates(tokens: readonly number[]): Float64Array[] {
  let state = 1;
  return tokens.map((token) => {
    state = mix((Math.imul(state, 31) + token) >>> 0);
    return Float64Array.from({ length: SIZE }, (_, d) => (mix((state + d) >>> 0) >>> 8) * 2 ** -24 - 0.5);
  });
}

function pooled(tokens: readonly number[], pooling: 'last' | 'mean' | 'cls'): Float32Array {
  const states = hiddenStates(tokens);
  if (pooling === 'last') return Float32Array.from(states.at(-1)!);
  if (pooling === 'cls') return Float32Array.from(states[0]!);
  return Float32Array.from(
    { length: SIZE },
    (_, d) => states.reduce((sum, state) => sum + state[d]!, 0) / states.length,
  );
}

const PLAIN = { normalize: false } as const;
const long = (letters: number) => 'abcdefgh'.repeat(letters / 8);

test('gives the last token its vector, the first, or the mean of all, in any chunks', async () => {
  const texts = ['abc', '', long(200), 'q', long(64), 'the end'];
  for (const prefillChunk of [1, 7, 64]) {
    const model = await open({}, { prefillChunk, sequences: 1 });
    for (const pooling of ['last', 'mean', 'cls'] as const) {
      const vectors = await model.embed(texts, { ...PLAIN, pooling });
      assert.equal(
        vectors,
        texts.map((text) => pooled(model.tokenize(text), pooling)),
        `${pooling} in chunks of ${prefillChunk}`,
      );
    }
  }
});

test('the pooling is the model’s own where it has one, and else the last token’s', async () => {
  const [vector] = await (await open()).embed('abc', PLAIN);
  assert.equal(vector, pooled([BOS, 0, 1, 2], 'last'));
  const artifact = toyArtifact({}, (manifest) => {
    manifest.model.pooling = 'mean';
  });
  const mean = await openArtifact(artifact);
  opened.push(mean);
  assert.is(mean.pooling, 'mean');
  assert.equal(await mean.embed('abc', PLAIN), [pooled([BOS, 0, 1, 2], 'mean')]);
  assert.equal(await mean.embed('abc', { ...PLAIN, pooling: 'cls' }), [pooled([BOS, 0, 1, 2], 'cls')]);
});

test('vectors have a length of 1 unless told otherwise, and the same direction', async () => {
  const model = await open();
  const [[plain], [unit]] = [await model.embed('abc', PLAIN), await model.embed('abc')];
  const length = Math.hypot(...plain!);
  assert.ok(Math.abs(Math.hypot(...unit!) - 1) < 1e-6);
  unit!.forEach((value, i) => {
    assert.ok(Math.abs(value - plain![i]! / length) < 1e-7);
  });
});

test('hundreds of texts of all lengths, at once with others and with text being generated', async () => {
  const model = await open({ noise: 0.1 }, { sequences: 3 });
  const texts = Array.from({ length: 300 }, (_, i) => String.fromCharCode(97 + (i % 26)).repeat((i * 37) % 90));
  const alone = await model.generate('a', { seed: 3, maxTokens: 60 }).result;
  const [first, second, generated] = await Promise.all([
    model.embed(texts, PLAIN),
    model.embed(texts.toReversed(), { ...PLAIN, pooling: 'mean' }),
    model.generate('a', { seed: 3, maxTokens: 60 }).result,
    model.generate('zz', { seed: 4, maxTokens: 60 }).result,
  ]);
  assert.equal(
    first,
    texts.map((text) => pooled(model.tokenize(text), 'last')),
  );
  assert.equal(
    second,
    texts.toReversed().map((text) => pooled(model.tokenize(text), 'mean')),
  );
  assert.equal(generated!.tokens, alone.tokens);
});

test('with one sequence only, embedding and generating wait for each other', async () => {
  const model = await open({ delayUs: 200 }, { sequences: 1 });
  const generation = model.generate('a', { temperature: 0, maxTokens: 20 }).result;
  const [vector] = await model.embed('abc', PLAIN);
  assert.is((await generation).text, 'bcdefghijklmnopqrstu');
  assert.equal(vector, pooled([BOS, 0, 1, 2], 'last'));
  assert.is((await model.generate('a', { temperature: 0, maxTokens: 3 }).result).text, 'bcd');
});

test('no texts have no vectors, one text is an array of one', async () => {
  const model = await open();
  assert.equal(await model.embed([]), []);
  assert.is((await model.embed('abc')).length, 1);
});

test('a text without tokens is refused, unless the tokenizer adds one', async () => {
  const model = await open();
  assert.equal(await model.embed('', PLAIN), [pooled([BOS], 'last')]);
  const { tokenizer } = model;
  const encodeAsync = tokenizer.encodeAsync.bind(tokenizer);
  tokenizer.encodeAsync = (text) => encodeAsync(text, { addBos: false });
  assert.match((await refusal(() => model.embed(['a', '']))).message, 'text 2 of 2 is empty');
});

test('a text that is too long is refused with the limit, or cut', async () => {
  const model = await open({}, { contextLength: 40 });
  const error = await refusal(() => model.embed(['a', long(48)]));
  assert.is(error.message, 'text 2 of 2 has 49 tokens, there is room for 40');
  assert.match(error.hint!, `larger contextLength, or set truncate`);
  assert.match(error.hint!, String(CONTEXT));
  const [cut] = await model.embed(long(48), { ...PLAIN, truncate: true });
  assert.equal(cut, pooled(model.tokenize(long(48)).slice(0, 40), 'last'));
});

test('a token that ends every text is kept when one is cut', async () => {
  const model = await open({}, { contextLength: 8 });
  const { tokenizer } = model;
  const encodeAsync = tokenizer.encodeAsync.bind(tokenizer);
  tokenizer.encodeAsync = (text) => encodeAsync(text, { addEos: true });
  const [cut] = await model.embed('abcdefghijkl', { ...PLAIN, truncate: true });
  assert.equal(cut, pooled([BOS, 0, 1, 2, 3, 4, 5, tokenizer.eos!], 'last'));
});

test('reports progress', async () => {
  const model = await open();
  const seen: number[] = [];
  await model.embed(Array(500).fill('abc'), {
    onProgress: (done, total) => {
      assert.is(total, 500);
      seen.push(done);
    },
  });
  assert.is(seen.at(-1), 500);
  assert.ok(seen.length > 1 && seen.every((done, i) => i === 0 || done > seen[i - 1]!));
});

test('stops when it is told to, and the place is free again', async () => {
  const model = await open({ delayUs: 2000 }, { sequences: 1 });
  const controller = new AbortController();
  const reason = new Error('enough');
  let seen = 0;
  try {
    await model.embed(Array(1000).fill(long(64)), {
      signal: controller.signal,
      onProgress: (done) => {
        seen = done;
        controller.abort(reason);
      },
    });
    assert.unreachable();
  } catch (error) {
    assert.is(error, reason);
  }
  assert.ok(seen > 0 && seen < 1000);
  assert.equal(await model.embed('abc', PLAIN), [pooled([BOS, 0, 1, 2], 'last')]);
  await assertRejects(model, { signal: AbortSignal.abort(reason) }, /enough/);
});

async function assertRejects(model: Model, options: object, message: RegExp): Promise<void> {
  try {
    await model.embed('abc', options as EmbedOptions);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, message);
  }
}

test('what is no text or no option is refused', async () => {
  const model = await open();
  await assertRejects(model, { pooling: 'max' }, /option pooling is 'max', it must be 'last', 'mean' or 'cls'/);
  await assertRejects(model, { normalise: true }, /there is no option normalise/);
  for (const texts of [undefined, 3, ['a', 3], { 0: 'a' }]) {
    const error = await refusal(() => model.embed(texts as unknown as string));
    assert.is(error.message, 'embed takes a text or an array of texts');
  }
});

test('leaves the event loop free', async () => {
  const model = await open({ delayUs: 500 });
  let turns = 0;
  let running = true;
  const embedding = model.embed(Array(200).fill(long(64))).finally(() => {
    running = false;
  });
  while (running) {
    await setImmediate();
    turns++;
  }
  await embedding;
  assert.ok(turns > 100, `${turns} turns`);
});

test('ends with an error when the model is disposed of', async () => {
  const model = await openToy({ delayUs: 2000 });
  const embedding = refusal(() => model.embed(Array(1000).fill(long(64))));
  await setImmediate();
  await model.dispose();
  assert.match((await embedding).message, 'disposed');
});

test.run();
