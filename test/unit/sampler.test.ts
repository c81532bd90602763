import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GenerateOptions, Model } from '../../runtime/src/index.ts';
import { BOS, constant, openToy, type Table, VOCAB } from '../fixtures/toy-model/toy.ts';

// A model whose logits never change: what comes out is the sampler's doing alone.

const NEUTRAL = { topK: 0, topP: 1, minP: 0, ignoreEos: true } as const;
const opened: Model[] = [];
test.after(async () => {
  for (const model of opened) await model.dispose();
});

async function samplerOf(
  table: Table,
): Promise<(count: number, options: GenerateOptions) => Promise<readonly number[]>> {
  const model = await openToy({ table }, { threads: 1 });
  opened.push(model);
  return async (count, options) =>
    (await model.generate([BOS], { ...NEUTRAL, maxTokens: count, ...options }).result).tokens;
}

/** Logits of the given probabilities for tokens 0, 1, … */
const probabilities = (...values: number[]) => constant(Object.fromEntries(values.map((p, id) => [id, Math.log(p)])));
const distinct = (tokens: readonly number[]) => [...new Set(tokens)].sort((a, b) => a - b);
const share = (tokens: readonly number[], id: number) => tokens.filter((it) => it === id).length / tokens.length;

test('temperature 0 takes the largest logit, the lowest id of equals', async () => {
  const sample = await samplerOf(constant({ 7: 1, 3: 2, 5: 2 }));
  assert.equal(await sample(3, { temperature: 0 }), [3, 3, 3]);
});

test('temperature divides the logits', async () => {
  const sample = await samplerOf(probabilities(0.75, 0.25));
  for (const [temperature, expected] of [
    [1, 3 / 4],
    [0.5, 9 / 10],
    [2, Math.sqrt(3) / (Math.sqrt(3) + 1)],
  ] as const) {
    let tokens: number[] = [];
    for (let seed = 0; seed < 20; seed++) tokens = tokens.concat(await sample(200, { temperature, seed }));
    assert.ok(Math.abs(share(tokens, 0) - expected) < 0.02, `${temperature}: ${share(tokens, 0)} for ${expected}`);
  }
});

test('a seed gives the draws of xoshiro256++, splitmix64 before it', async () => {
  const sample = await samplerOf(constant({}, 0));
  const seed = 123456789;
  const expected = Array.from(xoshiro(BigInt(seed), 100), (uniform) => Math.floor(uniform * VOCAB));
  assert.equal(await sample(100, { temperature: 1, seed }), expected);
  assert.equal(await sample(100, { temperature: 1, seed }), expected);
  assert.not.equal(await sample(100, { temperature: 1, seed: seed + 1 }), expected);
});

test('without a seed it is another text, whose seed is reported', async () => {
  const model = await openToy({ table: constant({}, 0) }, { threads: 1 });
  opened.push(model);
  const options = { ...NEUTRAL, maxTokens: 20, temperature: 1 };
  const first = await model.generate([BOS], options).result;
  const second = await model.generate([BOS], options).result;
  assert.not.equal(first.tokens, second.tokens);
  assert.equal((await model.generate([BOS], { ...options, seed: first.seed }).result).tokens, first.tokens);
});

test('top-k keeps the k largest, the lowest ids of equals', async () => {
  const sample = await samplerOf(probabilities(0.1, 0.4, 0.1, 0.1, 0.3));
  const tokens = (topK: number) => sample(200, { temperature: 1, topK, seed: 1 });
  assert.equal(distinct(await tokens(1)), [1]);
  assert.equal(distinct(await tokens(2)), [1, 4]);
  assert.equal(distinct(await tokens(3)), [0, 1, 4]);
  assert.equal(distinct(await tokens(0)), [0, 1, 2, 3, 4]);
});

test('top-k of a whole vocabulary in rising order', async () => {
  const sample = await samplerOf((_, to) => to / 1e4);
  const tokens = await sample(200, { temperature: 1, topK: 3, seed: 1 });
  assert.equal(distinct(tokens), [VOCAB - 3, VOCAB - 2, VOCAB - 1]);
});

test('top-p keeps the fewest tokens that add up to p', async () => {
  const sample = await samplerOf(probabilities(0.5, 0.3, 0.15, 0.05));
  const tokens = (options: GenerateOptions) => sample(250, { temperature: 1, seed: 1, ...options });
  assert.equal(distinct(await tokens({ topP: 0 })), [0]);
  assert.equal(distinct(await tokens({ topP: 0.49 })), [0]);
  assert.equal(distinct(await tokens({ topP: 0.79 })), [0, 1]);
  assert.equal(distinct(await tokens({ topP: 0.81 })), [0, 1, 2]);
  assert.equal(distinct(await tokens({ topP: 1 })), [0, 1, 2, 3]);
  // Of the two that top-k leaves, the first has 0.625.
  assert.equal(distinct(await tokens({ topK: 2, topP: 0.6 })), [0]);
});

test('top-p of a flat distribution keeps more than the sampler tries first', async () => {
  const sample = await samplerOf(constant({}, 0));
  const tokens = distinct([
    ...(await sample(250, { temperature: 1, topP: 0.9, seed: 1 })),
    ...(await sample(250, { temperature: 1, topP: 0.9, seed: 2 })),
  ]);
  assert.ok(tokens.at(-1)! < Math.ceil(0.9 * VOCAB));
  assert.ok(tokens.at(-1)! > 400);
});

test('min-p leaves out what is much less probable than the best', async () => {
  const sample = await samplerOf(probabilities(0.5, 0.3, 0.15, 0.05));
  const tokens = (options: GenerateOptions) => sample(250, { temperature: 1, seed: 1, ...options });
  assert.equal(distinct(await tokens({ minP: 0.35 })), [0, 1]);
  assert.equal(distinct(await tokens({ minP: 0.25 })), [0, 1, 2]);
  assert.equal(distinct(await tokens({ minP: 1 })), [0]);
  assert.equal(distinct(await tokens({ minP: 0.35, topK: 3 })), [0, 1]);
  assert.equal(distinct(await tokens({ minP: 0.35, topP: 0.99 })), [0, 1]);
});

test('the repetition penalty divides positive logits and multiplies negative ones', async () => {
  const positive = await samplerOf(constant({ 0: 2, 1: 1.5 }));
  assert.equal(await positive(5, { temperature: 0, repetitionPenalty: 1.5 }), [0, 1, 0, 0, 0]);
  assert.equal(await positive(5, { temperature: 0, repetitionPenalty: 1.5, penaltyLastN: 1 }), [0, 1, 0, 1, 0]);
  assert.equal(await positive(3, { temperature: 0, repetitionPenalty: 1.5, penaltyLastN: 0 }), [0, 0, 0]);
  const negative = await samplerOf(constant({ 0: -1, 1: -1.5 }, -100));
  assert.equal(await negative(4, { temperature: 0, repetitionPenalty: 2 }), [0, 1, 0, 0]);
});

test('the penalties count the prompt', async () => {
  const model = await openToy({ table: constant({ 0: 2, 1: 1.5 }) }, { threads: 1 });
  opened.push(model);
  const options = { maxTokens: 1, temperature: 0, repetitionPenalty: 1.5 };
  assert.equal((await model.generate([0], options).result).tokens, [1]);
  assert.equal((await model.generate([0, BOS], { ...options, penaltyLastN: 1 }).result).tokens, [0]);
});

test('the presence penalty counts once, the frequency penalty each time', async () => {
  const sample = await samplerOf(constant({ 0: 1, 1: 0.5 }));
  assert.equal(await sample(4, { temperature: 0, presencePenalty: 0.75 }), [0, 1, 0, 0]);
  assert.equal(await sample(6, { temperature: 0, frequencyPenalty: 0.3 }), [0, 0, 1, 0, 1, 0]);
});

test('logit bias favours and forbids', async () => {
  const sample = await samplerOf(constant({ 0: 2, 1: 1, 2: 0 }));
  assert.equal(await sample(1, { temperature: 0, logitBias: { 2: 3 } }), [2]);
  assert.equal(await sample(1, { temperature: 0, logitBias: { 0: -1.5 } }), [1]);
  const tokens = await sample(200, { temperature: 1, seed: 1, logitBias: { 0: -Infinity } });
  assert.equal(distinct(tokens), [1, 2]);
});

test('logits that are not numbers are left out', async () => {
  const sample = await samplerOf(constant({ 0: NaN, 1: 1, 2: 1 }));
  assert.equal(await sample(1, { temperature: 0 }), [1]);
  assert.equal(distinct(await sample(100, { temperature: 1, seed: 1 })), [1, 2]);
  const infinite = await samplerOf(constant({ 1: Infinity, 2: 1 }));
  for (const options of [{}, { topK: 2 }, { topP: 0.9 }, { minP: 0.1 }]) {
    assert.equal(distinct(await infinite(50, { temperature: 1, seed: 1, ...options })), [1]);
  }
});

test('where no logit is a number the generation fails', async () => {
  const sample = await samplerOf(constant({}, NaN));
  for (const temperature of [0, 1]) {
    try {
      await sample(1, { temperature });
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, 'logits that are not numbers');
    }
  }
});

/** Written from the algorithms' publications, to hold the native one against. */
function* xoshiro(seed: bigint, count: number): Generator<number> {
  const u64 = (value: bigint) => BigInt.asUintN(64, value);
  const rotate = (value: bigint, by: bigint) => u64((value << by) | (value >> (64n - by)));
  const state = Array.from({ length: 4 }, () => {
    seed = u64(seed + 0x9e3779b97f4a7c15n);
    let word = u64((seed ^ (seed >> 30n)) * 0xbf58476d1ce4e5b9n);
    word = u64((word ^ (word >> 27n)) * 0x94d049bb133111ebn);
    return word ^ (word >> 31n);
  }) as [bigint, bigint, bigint, bigint];
  for (let i = 0; i < count; i++) {
    const result = u64(rotate(u64(state[0] + state[3]), 23n) + state[0]);
    const shifted = u64(state[1] << 17n);
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45n);
    yield Number(result >> 11n) / 2 ** 53;
  }
}

test.run();
