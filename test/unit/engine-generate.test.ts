import { setImmediate, setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WASM } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import type { GenerationOutput, NativeEngine } from '../../runtime/src/addon.ts';
import { loadAddon } from '../../runtime/src/addon.ts';
import { greedyOptions } from '../../runtime/src/benchmark.ts';
import type { GenerateOptions, Generation, LoadOptions, Model } from '../../runtime/src/index.ts';
import { openWasmFiles } from '../../runtime/src/wasm/node.ts';
import {
  A,
  alphabet,
  BOS,
  CONTEXT,
  EOS,
  EURO,
  EXCLAMATION,
  openToy,
  SPACE,
  type Toy,
  toyArtifact,
  VOCAB,
} from '../fixtures/toy-model/toy.ts';

const GREEDY = { temperature: 0 } as const;
const opened: Model[] = [];
test.after(async () => {
  for (const model of opened) await model.dispose();
});

async function open(toy: Toy = {}, options: LoadOptions = {}): Promise<Model> {
  const model = await openToy(toy, options);
  opened.push(model);
  return model;
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error('it should have failed');
}

test('streams text piece by piece', async () => {
  const model = await open();
  const generation = model.generate('abc', { ...GREEDY, maxTokens: 5 });
  const pieces: string[] = [];
  for await (const piece of generation) pieces.push(piece);
  assert.equal(pieces, ['d', 'e', 'f', 'g', 'h']);
  const { text, tokens, finishReason, stats } = await generation.result;
  assert.is(text, 'defgh');
  assert.equal(tokens, [3, 4, 5, 6, 7]);
  assert.is(finishReason, 'length');
  assert.is(stats.promptTokens, 4);
  assert.is(stats.cachedTokens, 0);
  assert.is(stats.decodeTokens, 4);
  assert.ok(stats.prefillMs > 0 && stats.decodeMs > 0 && stats.timeToFirstTokenMs > 0);
});

test('the result alone reads to the end', async () => {
  const model = await open();
  assert.is((await model.generate([A], { ...GREEDY, maxTokens: 3 }).result).text, 'bcd');
});

test('a generation is read once', async () => {
  const model = await open();
  const generation = model.generate([A], { ...GREEDY, maxTokens: 3 });
  await generation.result;
  assert.throws(() => generation[Symbol.asyncIterator](), /only once/);
});

test('ends at a stop token, unless told to go on', async () => {
  const model = await open();
  const stopped = await model.generate([EXCLAMATION], GREEDY).result;
  assert.equal([stopped.text, stopped.tokens, stopped.finishReason], ['', [], 'stop']);
  const ignoring = await model.generate([EXCLAMATION], { ...GREEDY, ignoreEos: true, maxTokens: 3 }).result;
  assert.equal(ignoring.tokens, [EOS, 0, 1]);
  assert.is(ignoring.text, 'ab');
});

test('ends when the context is full', async () => {
  const model = await open({}, { contextLength: 20 });
  const { tokens, finishReason } = await model.generate('abc', GREEDY).result;
  assert.is(finishReason, 'context');
  // 4 tokens of prompt and 16 more are in the cache; the last one sampled is not.
  assert.is(tokens.length, 17);
});

test('a prompt of exactly the context gives one token', async () => {
  const model = await open({}, { contextLength: 8 });
  const { tokens, finishReason } = await model.generate([0, 1, 2, 3, 4, 5, 6, 7], GREEDY).result;
  assert.equal([tokens, finishReason], [[8], 'context']);
});

test('a prompt longer than the context is refused with both numbers', async () => {
  const model = await open({}, { contextLength: 16 });
  const error = await rejection(model.generate(new Array(20).fill(A), GREEDY).result);
  assert.instance(error, BitnetError);
  assert.match(error.message, 'the prompt has 20 tokens, the context has room for 16');
  assert.match((error as BitnetError).hint ?? '', `up to ${CONTEXT}`);
});

test('bad prompts are refused', async () => {
  const model = await open();
  assert.match((await rejection(model.generate([], GREEDY).result)).message, 'no tokens');
  assert.match((await rejection(model.generate([0, 512], GREEDY).result)).message, 'token id 512 is outside');
  assert.match((await rejection(model.generate([0, 1.5], GREEDY).result)).message, 'token id 1.5 is outside');
  assert.throws(() => model.generate([0], { logitBias: { 512: 1 } }), /token id 512 is outside/);
});

test('no piece ends inside a character', async () => {
  const [first, second, third] = EURO;
  const chain = new Map([
    [A, first],
    [first, second],
    [second, third],
    [third, A],
  ]);
  const model = await open({ table: (from, to) => (chain.get(from) === to ? 1 : 0) });
  const pieces: string[] = [];
  for await (const piece of model.generate([A], { ...GREEDY, maxTokens: 6 })) pieces.push(piece);
  assert.equal(pieces, ['€', 'a', '\ufffd']);
});

test('chat writes the conversation with the template, and answers it', async () => {
  const model = await open();
  const messages = [
    { role: 'user', content: 'abc' },
    { role: 'assistant', content: 'de' },
  ];
  const { text, stats } = await model.chat(messages, { ...GREEDY, maxTokens: 3 }).result;
  assert.is(text, 'fgh');
  assert.is(stats.promptTokens, 6);
});

test('stop strings end the text before them', async () => {
  const model = await open();
  const generation = model.generate('a', { ...GREEDY, stop: ['xyz', 'fgh'] });
  const pieces: string[] = [];
  for await (const piece of generation) pieces.push(piece);
  assert.equal(pieces, ['b', 'c', 'd', 'e']);
  const { finishReason, tokens } = await generation.result;
  assert.is(finishReason, 'stop');
  assert.equal(tokens, [1, 2, 3, 4, 5, 6, 7]);
});

test('what looked like a stop string comes out at the end', async () => {
  const model = await open();
  assert.is((await model.generate('a', { ...GREEDY, maxTokens: 3, stop: ['cde'] }).result).text, 'bcd');
});

test('together, queued for slots or not, texts are what they are alone', async () => {
  const toy: Toy = { table: () => 0, noise: 6 };
  const prompts = ['a', 'abcd', 'the cat', 'xyz '.repeat(40), 'the dog', 'a'];
  const run = (model: Model, prompt: string, seed: number) =>
    model.generate(prompt, { temperature: 1, seed, maxTokens: 30, ignoreEos: true }).result;
  const alone: string[] = [];
  for (const [seed, prompt] of prompts.entries()) {
    const model = await openToy(toy, { threads: 1 });
    alone.push((await run(model, prompt, seed)).tokens.join());
    await model.dispose();
  }
  assert.is(new Set(alone).size, prompts.length);
  for (const options of [{ sequences: 6 }, { sequences: 2, prefillChunk: 3 }, { sequences: 1 }]) {
    const model = await open(toy, options);
    const together = await Promise.all(prompts.map((prompt, seed) => run(model, prompt, seed)));
    assert.equal(
      together.map(({ tokens }) => tokens.join()),
      alone,
    );
  }
});

test('those who wait for a slot go in order', async () => {
  const model = await open({ delayUs: 200 }, { sequences: 1 });
  const order: number[] = [];
  const run = async (which: number) => {
    await model.generate([A], { ...GREEDY, maxTokens: 3 }).result;
    order.push(which);
  };
  await Promise.all([0, 1, 2, 3].map(run));
  assert.equal(order, [0, 1, 2, 3]);
});

test('a long prompt does not stop the others', async () => {
  const model = await open({ delayUs: 500 }, { prefillChunk: 1 });
  const long = model.generate(new Array(CONTEXT).fill(A), { ...GREEDY, maxTokens: 1 }).result;
  let longEnded = false;
  void long.then(() => {
    longEnded = true;
  });
  await model.generate([A, A + 1], { ...GREEDY, maxTokens: 4 }).result;
  assert.not(longEnded);
  await long;
});

test('many requests share a signal, and Node warns of nothing', async () => {
  const model = await open({ table: () => 0, noise: 6 }, { sequences: 2 });
  const { signal } = new AbortController();
  const warnings: Error[] = [];
  const warned = (warning: Error) => warnings.push(warning);
  process.on('warning', warned);
  const options = { temperature: 0, maxTokens: 3, ignoreEos: true, signal };
  await Promise.all(Array.from({ length: 16 }, () => model.generate([A], options).result));
  await setImmediate();
  process.off('warning', warned);
  assert.equal(warnings, []);
});

test('a prompt that begins like an earlier one is not read again', async () => {
  const model = await open({ table: () => 0, noise: 6 }, { sequences: 2 });
  const options = { temperature: 0, maxTokens: 10, ignoreEos: true };
  const prompt = [BOS, 1, 2, 3, 4, 5];
  const first = await model.generate(prompt, options).result;
  const again = await model.generate(prompt, options).result;
  assert.is(again.stats.cachedTokens, 5);
  assert.equal(again.tokens, first.tokens);
  const next = [...prompt, ...first.tokens, 6];
  const longer = await model.generate(next, options).result;
  // All but the last token sampled, which was never run.
  assert.is(longer.stats.cachedTokens, prompt.length + 9);
  const fresh = await open({ table: () => 0, noise: 6 });
  assert.equal(longer.tokens, (await fresh.generate(next, options).result).tokens);
  const other = await model.generate([BOS, 3, 2, 1], options).result;
  assert.is(other.stats.cachedTokens, 0);
  // It went to the other slot, so that this is still there.
  assert.ok((await model.generate(prompt, options).result).stats.cachedTokens > 0);
});

test('leaving the loop cancels', async () => {
  const model = await open({ delayUs: 500 }, { sequences: 1 });
  const generation = model.generate('a', GREEDY);
  for await (const piece of generation) if (piece === 'c') break;
  const { text, finishReason, stats } = await generation.result;
  assert.is(finishReason, 'cancelled');
  assert.is(text, 'bc');
  assert.is(stats.promptTokens, 2);
  assert.is((await model.generate('x', { ...GREEDY, maxTokens: 1 }).result).text, 'y');
});

test('a signal cancels with its reason, also who waits for a slot', async () => {
  const model = await open({ delayUs: 500 }, { sequences: 1 });
  const running = new AbortController();
  const generation = model.generate('a', { ...GREEDY, signal: running.signal });
  const waiting = new AbortController();
  const queued = model.generate('b', { ...GREEDY, signal: waiting.signal });
  const queuedError = rejection(queued.result);
  const read = async () => {
    for await (const piece of generation) if (piece === 'c') running.abort();
  };
  const runningError = rejection(read());
  const reason = new Error('changed my mind');
  waiting.abort(reason);
  assert.is(await queuedError, reason);
  assert.is((await runningError).name, 'AbortError');
  assert.is((await rejection(generation.result)).name, 'AbortError');
  const late = rejection(model.generate('a', { ...GREEDY, signal: running.signal }).result);
  assert.is((await late).name, 'AbortError');
  assert.is((await model.generate('x', { ...GREEDY, maxTokens: 1 }).result).text, 'y');
});

test('a signal cancels a long prefill', async () => {
  const model = await open({ delayUs: 1000 }, { prefillChunk: 1 });
  const signal = AbortSignal.timeout(20);
  const generation = model.generate(new Array(CONTEXT).fill(A), { ...GREEDY, signal });
  assert.is((await rejection(generation.result)).name, 'TimeoutError');
});

test('the engine is never further ahead than the queue', async () => {
  const wakes = new Map<number, () => void>();
  const engine = await openNative((id) => wakes.get(id)?.());
  const queue = 8;
  const id = engine.generate(Int32Array.of(A), { ...greedyOptions(200, VOCAB), queue: queue });
  const taken: number[][] = [];
  while (!taken.some((tokens) => tokens.length >= queue)) {
    const output = engine.take(id) as GenerationOutput | undefined;
    if (!output) {
      await new Promise<void>((resolve) => wakes.set(id, resolve));
      continue;
    }
    taken.push([...output.tokens]);
    assert.is(output.ending, 'none');
    await setTimeout(20); // A slow reader: time for hundreds of steps.
  }
  engine.cancel(id);
  await engine.dispose();
  assert.ok(taken.every((tokens) => tokens.length <= queue));
  const all = taken.flat();
  assert.equal(
    all,
    all.map((_, i) => (i + 1) % 26),
  );
});

test('a slow reader does not hold up the others', async () => {
  const model = await open();
  const slow = model.generate('a', GREEDY)[Symbol.asyncIterator]();
  await slow.next();
  assert.is((await model.generate('a', { ...GREEDY, maxTokens: 100 }).result).tokens.length, 100);
  await slow.return();
});

test('the event loop turns while the engine works', async () => {
  const model = await open({ delayUs: 1000 });
  let ended = false;
  const result = model.generate('a', { ...GREEDY, maxTokens: 20 }).result.then(() => {
    ended = true;
  });
  let turns = 0;
  while (!ended) {
    await setImmediate();
    turns++;
  }
  await result;
  assert.ok(turns > 20, `${turns} turns`);
});

test('dispose ends what runs and what waits with an error', async () => {
  const model = await openToy({ delayUs: 500 }, { sequences: 1 });
  const options: GenerateOptions = { ...GREEDY, ignoreEos: true };
  const generations = [model.generate('a', options), model.generate('b', options)];
  const errors = generations.map((generation: Generation) => rejection(generation.result));
  await setTimeout(5);
  const disposals = [model.dispose(), model.dispose(), model[Symbol.asyncDispose]()];
  for (const error of await Promise.all(errors)) assert.match(error.message, 'the model was disposed');
  await Promise.all(disposals);
  await model.dispose();
  assert.match((await rejection(model.generate('a').result)).message, 'the model was disposed');
  assert.match((await rejection(model.logits([A]))).message, 'the model was disposed');
  assert.is(model.contextLength, CONTEXT);
});

test('dispose ends a benchmark', async () => {
  const model = await openToy({ delayUs: 1000 });
  const error = rejection(model.benchmark({ promptTokens: [4], newTokens: 4, repetitions: 1000 }));
  await setTimeout(5);
  await model.dispose();
  assert.match((await error).message, 'the model was disposed');
});

test('logits of every token, whatever the chunks', async () => {
  const noisy: Toy = { table: alphabet, noise: 2 };
  const one = await open(noisy, { prefillChunk: 1 });
  const tokens = Array.from({ length: 100 }, (_, i) => (i * 7) % 30);
  const expected = await one.logits(tokens);
  assert.is(expected.rows, 100);
  assert.is(expected.data.length, 100 * expected.vocab);
  const many = await open(noisy);
  const others = [many.logits(tokens), many.logits(tokens.slice(0, 50)), many.generate([A], { maxTokens: 40 }).result];
  const [whole, half] = (await Promise.all(others)) as [typeof expected, typeof expected, unknown];
  assert.equal(Buffer.from(whole.data.buffer), Buffer.from(expected.data.buffer));
  assert.equal(Buffer.from(half.data.buffer), Buffer.from(expected.data.buffer.slice(0, half.data.byteLength)));
  const row = expected.data.subarray(0, expected.vocab);
  assert.ok(row[A + 1]! >= 10 && row[SPACE]! < 2.01);
});

test('logits longer than the context are refused', async () => {
  const model = await open({}, { contextLength: 8 });
  assert.match((await rejection(model.logits(new Array(9).fill(A)))).message, /9 tokens.*room for 8/);
});

test('perplexity is that of the logits, windows from an empty cache', async () => {
  const model = await open({ table: alphabet, noise: 3 });
  const tokens = Array.from({ length: 51 }, (_, i) => (i * 5) % 27);
  const window = 10;
  let sum = 0;
  let count = 0;
  for (let start = 0; start < tokens.length; start += window) {
    const part = tokens.slice(start, start + window);
    const { data, vocab } = await model.logits(part);
    for (let i = 1; i < part.length; i++, count++) {
      const row = data.subarray((i - 1) * vocab, i * vocab);
      sum += Math.log(row.reduce((total, logit) => total + Math.exp(logit), 0)) - row[part[i]!]!;
    }
  }
  const progress: number[] = [];
  const result = await model.perplexity(tokens, { window, onProgress: (done, total) => progress.push(done / total) });
  assert.is(count, 45);
  assert.is(result.tokens, count);
  assert.ok(Math.abs(result.nll - sum / count) < 1e-9);
  assert.is(result.perplexity, Math.exp(result.nll));
  assert.is(progress.at(-1), 1);
});

test('perplexity of too few tokens, too large a window, unknown tokens', async () => {
  const model = await open({}, { contextLength: 8 });
  assert.match((await rejection(model.perplexity([1]))).message, 'at least 2');
  assert.match((await rejection(model.perplexity(new Array(20).fill(1), { window: 9 }))).message, /9.*room for 8/);
  assert.match((await rejection(model.perplexity([1, 2, 3, 600], { window: 2 }))).message, 'token id 600');
});

test('a benchmark counts what it was told to', async () => {
  const model = await open({ delayUs: 100 });
  const progress: string[] = [];
  const result = await model.benchmark({
    promptTokens: [100, 10],
    newTokens: 3,
    contexts: [0, 20],
    sequences: [1, 2],
    repetitions: 2,
    onProgress: (done, total) => progress.push(`${done}/${total}`),
  });
  assert.is(result.target, 'toy');
  assert.is(result.threads, 2);
  assert.is(progress.at(-1), '16/16');
  const name = (row: (typeof result.rows)[number]) => [row.kind, row.tokens, row.context, row.sequences].join(' ');
  assert.equal(result.rows.map(name), [
    'prefill 100 0 1',
    'prefill 10 0 1',
    'decode 3 0 1',
    'decode 3 0 2',
    'prefill 100 20 1',
    'prefill 10 20 1',
    'decode 3 20 1',
    'decode 3 20 2',
  ]);
  for (const row of result.rows) {
    const { kind, tokens, sequences, seconds, tokensPerSecond, share, macs } = row;
    assert.is(seconds.length, 2);
    // Steps of 100 µs or more: at most 64 tokens of a prompt each, or one of every sequence.
    const steps = kind === 'prefill' ? Math.ceil(tokens / 64) : tokens;
    assert.ok(seconds.every((one) => one >= steps * 1e-4));
    assert.is(tokensPerSecond.high, (tokens * sequences) / Math.min(...seconds));
    assert.is(row.firstTokenMs === undefined, kind === 'decode');
    assert.is(row.cachedFirstTokenMs === undefined, kind === 'decode');
    assert.ok(share.median > 0 && macs > 0);
  }
  assert.ok(result.machine.readGBps.median > 0 && result.machine.int8GMACps.median > 0);
});

test('a benchmark refuses what there is no room for', async () => {
  const model = await open();
  assert.match((await rejection(model.benchmark({ promptTokens: [CONTEXT + 1] }))).message, /257 tokens.*room for 256/);
  assert.match((await rejection(model.benchmark({ contexts: [200] }))).message, /329 tokens.*room for 256/);
  assert.match((await rejection(model.benchmark({ sequences: [5] }))).message, /sequences is 5.*opened for 4/);
  assert.match((await rejection(model.benchmark({ promptTokens: [] }))).message, /must be an array of whole numbers/);
});

async function openNative(wake: (id: number) => void): Promise<NativeEngine> {
  const folder = toyArtifact();
  const { readArtifact } = await import('../../runtime/src/artifact.ts');
  const { manifest } = await readArtifact(folder);
  const target = manifest.targets.toy!;
  const openEngine = target.arch === WASM ? openWasmFiles : loadAddon().open;
  return openEngine(
    {
      library: `${folder}/${target.library}`,
      weights: `${folder}/weights.bin`,
      weightsBytes: manifest.weights.toy!.bytes,
      key: target.key,
      kernels: target.kernels,
      threads: 1,
      pin: false,
      context: CONTEXT,
      kv: 'f16',
      sequences: 1,
      devices: Int32Array.of(0),
      chunk: 64,
    },
    wake,
    () => {},
  );
}

test.run();
