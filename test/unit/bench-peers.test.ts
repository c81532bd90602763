import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ModelFile } from '../../bench/peers/engine.ts';
import { readSpeeds } from '../../bench/peers/llama-bench.ts';
import { PEER_HEADINGS, peerPage, peerTable, summarise } from '../../bench/peers/summary.ts';
import { readVariants } from '../../bench/peers/variants.ts';
import { BitnetError } from '../../errors.ts';

const WORK = { threads: 2, promptTokens: 128, newTokens: 32 };
const entry = (n_prompt: number, n_gen: number, avg_ts: number, more: object = {}) => ({
  build_commit: 'abc1234',
  model_filename: 'm.gguf',
  model_n_params: 1_001_000,
  n_threads: 2,
  n_prompt,
  n_gen,
  avg_ts,
  ...more,
});
const GOOD = [entry(128, 0, 160.5), entry(0, 32, 25.25)];

test('reads what llama-bench prints', () => {
  const expected = { prefill: 160.5, decode: 25.25, version: 'abc1234' };
  assert.equal(readSpeeds(JSON.stringify(GOOD), [1_000_000], WORK), expected);
  assert.equal(readSpeeds(JSON.stringify(GOOD), [500_000, 1_000_000], WORK), expected);
  const noisy = `warning: [cpu] is busy\n${JSON.stringify(GOOD.toReversed(), null, 2)}\n`;
  assert.equal(readSpeeds(noisy, [1_000_000], WORK), expected);
});

const WRONG: [string, string, RegExp][] = [
  ['nothing', '', /no list of results/],
  ['half a list', JSON.stringify(GOOD).slice(0, -9), /no list of results/],
  ['no speed', JSON.stringify([entry(128, 0, 0), entry(0, 32, 1)]), /no list of results/],
  ['another prompt', JSON.stringify([entry(512, 0, 9), entry(0, 32, 1)]), /did not run the prompt/],
  ['no decode', JSON.stringify([entry(128, 0, 9)]), /did not run the prompt/],
  ['other threads', JSON.stringify([GOOD[0], entry(0, 32, 1, { n_threads: 4 })]), /ran 4 threads/],
  ['another model', JSON.stringify([entry(128, 0, 9, { model_n_params: 9e6 }), GOOD[1]]), /9000000 parameters/],
];
for (const [what, printed, message] of WRONG) {
  test(`refuses a llama-bench that printed ${what}`, () => {
    assert.throws(() => readSpeeds(printed, [1_000_000], WORK), message);
  });
}

const MODEL: ModelFile = {
  path: 'm.gguf',
  architecture: 'bitnet',
  weights: 'i2_s',
  head: 'f16',
  parameters: [1e9],
  bytesPerToken: 1e9,
};
const rounds = (speeds: [number, number][]) => speeds.map(([prefill, decode]) => ({ prefill, decode, version: '1' }));
const SUMMARY = summarise(
  [
    {
      name: 'ours',
      model: MODEL,
      rounds: rounds([
        [200, 20],
        [100, 10],
        [200, 21],
        [220, 20],
      ]),
    },
    {
      name: '<peer>',
      model: { ...MODEL, bytesPerToken: 2e9 },
      rounds: rounds([
        [100, 10],
        [50, 5],
        [100, 10.5],
        [110, 10],
      ]),
    },
  ],
  [
    { read: 40, int8: 400 },
    { read: 20, int8: 200 },
    { read: 42, int8: 400 },
    { read: 40, int8: 440 },
  ],
  1e9,
);

test('compares round by round: a machine that slows down for a while changes no ratio', () => {
  const [ours, peer] = SUMMARY.engines;
  for (const kind of ['prefill', 'decode'] as const) {
    assert.equal(peer![kind].behindOurs, { median: 2, low: 2, high: 2, confidence: 0.875 });
    assert.equal([ours![kind].share.low, ours![kind].share.high], [0.5, 0.5]);
  }
  assert.is(peer!.prefill.share.median, 0.25);
  assert.is(peer!.decode.share.median, 0.5);
  assert.is(ours!.decode.tokensPerSecond.median, 20);
  assert.is(SUMMARY.machine.readGBps.median, 40);
});

test('each head against ours with the same head', () => {
  const engine = (head: 'f16' | 'q6_k', decode: number) => ({
    name: 'e',
    model: { ...MODEL, head },
    rounds: rounds([[1, decode]]),
  });
  const all = [engine('f16', 20), engine('f16', 10), engine('q6_k', 40), engine('q6_k', 10)];
  const { engines } = summarise(all, [{ read: 1, int8: 1 }], 1);
  assert.equal(
    engines.map(({ decode }) => decode.behindOurs.median),
    [1, 2, 1, 4],
  );
});

test('settings of ours are the options of a command that runs a model', async () => {
  const [plain, other] = await readVariants('default;kernel=tl2,threads=1,force');
  assert.equal([plain!.name, plain!.options.kernel, plain!.options.threads], ['default', undefined, undefined]);
  const { kernel, threads, force } = other!.options;
  assert.equal([other!.name, kernel, threads, force], ['kernel=tl2,threads=1,force', 'tl2', 1, true]);
  const wrong: [string, RegExp][] = [
    ['kernel=none', /--ours 'kernel=none': .*--kernel.*is invalid/],
    ['default;;', /--ours 'default;;' names nothing/],
    ['nonsense=1', /unknown option '--nonsense=1'/],
    ['threads=0', /1 or more/],
  ];
  for (const [text, message] of wrong) {
    const error = await readVariants(text).catch((reason) => reason);
    assert.instance(error, BitnetError);
    assert.match(error.message, message);
  }
});

test('tables and pages', () => {
  const [ours, peer] = peerTable(SUMMARY);
  assert.is(ours!.length, PEER_HEADINGS.length);
  assert.equal(ours!.slice(0, 7), ['ours 1', 'i2_s', 'f16', '200', '100 to 220 (88%)', '50%', '1.00×']);
  assert.is(peer!.at(-1), '2.00×');
  const page = peerPage({ format: 1, date: 'd', shape: 's', cpu: 'c', work: WORK, ...SUMMARY });
  assert.match(page, '&lt;peer&gt;');
  assert.not.match(page, '<peer>');
});

test.run();
