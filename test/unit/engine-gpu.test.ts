import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Cubin, packCubins } from '../../compiler/build/cubins.ts';
import { type GenerateOptions, type LoadOptions, listGpus, type Model, openArtifact } from '../../runtime/src/index.ts';
import { contextLog, gpuArtifact, isFake, PROGRAM, pretend, rerunWithFakeGpu } from '../fixtures/fake-gpu/fake-gpu.ts';
import { A, openToy, type Table, VOCAB } from '../fixtures/toy-model/toy.ts';
import { skip } from '../support/beds.ts';
import { refusal as refusalOf } from '../support/refusal.ts';

const refusal = (work: Promise<unknown>) => refusalOf(() => work);

const MIB = 1 << 20;
const LETTERS = 'bcdefghijklmnopqrstuvwxyzabcdefgh';
const greedy = { temperature: 0, maxTokens: LETTERS.length, ignoreEos: true };

const openTable = (table: Table, sequences: number) =>
  openArtifact(gpuArtifact(PROGRAM, 'model.fatbin', { table }), { target: 'cuda', threads: 1, sequences });

/** Logits of all sizes, some of them equal, and some that cannot be drawn. */
const uneven: Table = (from, to) => {
  const mixed = Math.imul(from * VOCAB + to + 1, 0x9e3779b1) >>> 8;
  if (mixed % 97 === 0) return mixed % 2 === 0 ? Number.NaN : Number.NEGATIVE_INFINITY;
  return Math.round(12 * (mixed / 2 ** 24) ** 3 * 8) / 8;
};

const NEUTRAL = { topK: 0, topP: 1, minP: 0 } as const;
const penalties = { repetitionPenalty: 1.3, presencePenalty: 0.4, frequencyPenalty: 0.1 } as const;
const SETTINGS: readonly GenerateOptions[] = [
  { temperature: 0 },
  { temperature: 0, ...penalties },
  { ...NEUTRAL, temperature: 1, seed: 1 },
  { ...NEUTRAL, temperature: 0.8, minP: 0.05, seed: 2 },
  { ...NEUTRAL, temperature: 1.5, topK: 20, seed: 3 },
  { ...NEUTRAL, temperature: 1.1, topP: 0.9, ...penalties, penaltyLastN: 3, seed: 4 },
  { temperature: 1.2, topK: 100, topP: 0.97, minP: 0.01, seed: 5 },
  { temperature: 1, topK: 50, ...penalties, logitBias: { 5: 4, 77: Number.NEGATIVE_INFINITY, 300: 9 }, seed: 6 },
];

async function open(options: LoadOptions = {}) {
  return openArtifact(gpuArtifact(), { target: 'cuda', threads: 1, ...options });
}

function define(): void {
  test.before.each(() => {
    pretend({});
    contextLog();
  });

  test('GPUs are listed, and there is none where the driver finds none', async () => {
    pretend({ devices: 2, memory: 2 ** 34 });
    assert.equal(listGpus(), [
      { name: 'Fake GPU 0', capability: 90, memory: 2 ** 34 },
      { name: 'Fake GPU 1', capability: 90, memory: 2 ** 34 },
    ]);
    pretend({ devices: 0 });
    assert.throws(listGpus, /the driver finds none/);
    assert.match((await refusal(open())).message, /the driver finds none/);
  });

  test('the device that was asked for runs the model, and one that is not there is refused', async () => {
    pretend({ devices: 2 });
    const model = await open({ device: 1 });
    assert.is(model.device, 'Fake GPU 1');
    assert.is(model.target, 'cuda');
    await model.dispose();
    assert.equal(contextLog(), ['create 1', 'destroy 1']);
    const error = await refusal(open({ device: 2 }));
    assert.match(error.message, 'there is no GPU 2');
    assert.match(error.hint!, '0 (Fake GPU 0), 1 (Fake GPU 1)');
  });

  test('tokens are those of the table', async () => {
    const model = await open();
    assert.is((await model.generate([A], greedy).result).text, LETTERS);
    const { data } = await model.logits([3, 4]);
    assert.equal([data[4], data[5], data[VOCAB + 4], data[VOCAB + 5]], [10, 0, 0, 10]);
    await model.dispose();
  });

  test('tokens drawn with all kinds of settings are those that the CPU draws, alone and in company', async () => {
    const cpu = await openToy({ table: uneven }, { threads: 1 });
    const gpu = await openTable(uneven, 5);
    const tokensOf = async (model: Model, options: GenerateOptions, prompt = [A, 7, 9]) =>
      (await model.generate(prompt, { maxTokens: 40, ignoreEos: true, ...options }).result).tokens;
    const expected = await Promise.all(SETTINGS.map((options) => tokensOf(cpu, options)));
    for (const [i, options] of SETTINGS.entries()) assert.equal(await tokensOf(gpu, options), expected[i], String(i));
    assert.equal(await Promise.all(SETTINGS.map((options) => tokensOf(gpu, options))), expected);
    // Beside somebody who wants logits it is the CPU that draws, now and then.
    const [mixed] = await Promise.all([
      Promise.all(SETTINGS.map((options) => tokensOf(gpu, options))),
      gpu.logits(Array.from({ length: 200 }, (_, i) => i)),
    ]);
    assert.equal(mixed, expected);
    // A text that goes on from what is cached, and one where the cache is of another text.
    const options = SETTINGS.at(-1)!;
    const longer = [A, 7, 9, ...expected.at(-1)!];
    assert.equal(await tokensOf(gpu, options, longer), await tokensOf(cpu, options, longer));
    assert.equal(await tokensOf(gpu, options, [3, 3, 3]), await tokensOf(cpu, options, [3, 3, 3]));
    await Promise.all([cpu.dispose(), gpu.dispose()]);
  });

  test('a text that ends early leaves the others as they are', async () => {
    const gpu = await openTable(uneven, 3);
    const options = { ...SETTINGS.at(-1)!, maxTokens: 60, ignoreEos: true };
    const { tokens } = await gpu.generate([A], options).result;
    const early = async () => {
      for await (const _ of gpu.generate([5], { ...options, seed: 9 })) return;
    };
    const told = gpu.generate([A], options).result;
    for (let i = 0; i < 10; i++) await early();
    assert.equal((await told).tokens, tokens);
    await gpu.dispose();
  });

  test('where no logit is a number the generation fails', async () => {
    const model = await openTable(() => Number.NaN, 1);
    const { message } = await refusal(model.generate([A], { temperature: 1 }).result);
    assert.match(message, 'logits that are not numbers');
    await model.dispose();
  });

  test('a float32 cache has programs of its own, and more memory', async () => {
    const [half, single] = [await open(), await open({ kv: 'f32' })];
    // Beside keys and values, a token's id.
    assert.is(single.memory().kv * (4 + 4), half.memory().kv * (8 + 4));
    const last = async (model: typeof half) => (await model.logits([5, 6])).data.at(-1);
    assert.equal([await last(half), await last(single)], [0, 5]);
    await Promise.all([half.dispose(), single.dispose()]);
  });

  test('many sequences of several models run at once, on one context', async () => {
    const models = await Promise.all([open({ sequences: 3 }), open({ sequences: 64 })]);
    const starts = Array.from({ length: 20 }, (_, i) => i % 5);
    const told = models.flatMap((model) =>
      starts.map(async (from) => (await model.generate([from], { ...greedy, maxTokens: 8 }).result).text),
    );
    for (const [i, text] of (await Promise.all(told)).entries()) {
      assert.is(text, 'abcdefghijklmnop'.slice(((i % 20) % 5) + 1, ((i % 20) % 5) + 9));
    }
    await Promise.all(models.map((model) => model.dispose()));
    assert.equal(contextLog(), ['create 0', 'destroy 0']);
  });

  test('weights are told on their way, then all memory is planned', async () => {
    const stages: string[] = [];
    const shares: number[] = [];
    const model = await open({
      sequences: 2,
      contextLength: 100,
      onProgress: ({ stage, fraction }) => {
        if (stages.at(-1) !== stage) stages.push(stage);
        if (stage === 'upload') shares.push(fraction!);
      },
    });
    assert.equal(stages.slice(0, 2), ['manifest', 'tokenizer']);
    assert.is(stages.at(-1), 'ready');
    assert.ok(
      shares.every((share, i) => share > (shares[i - 1] ?? 0) && share <= 1),
      String(shares),
    );
    const { weights, kv, workspace } = model.memory();
    assert.equal([weights, kv], [VOCAB * VOCAB * 4, 2 * 1024]);
    assert.ok(workspace > 0);
    await model.dispose();
  });

  test('what does not fit is refused with the numbers, before any memory is taken', async () => {
    const model = await open({ sequences: 2 });
    const { weights, workspace } = model.memory();
    await model.dispose();
    // Beside 64 MiB that are left to the driver there is room for 2000 bytes of cache: three times 256 for each sequence.
    pretend({ memory: weights + workspace + 64 * MIB + 2000 });
    const tight = await refusal(open({ sequences: 2, contextLength: 200 }));
    assert.match(
      tight.message,
      /does not fit Fake GPU 0: weights 1 MiB, KV cache of 2 sequences of 200 positions 1 MiB/,
    );
    assert.match(tight.message, /free are \d+ MiB of \d+ MiB/);
    assert.is(tight.hint, 'With 2 sequences, a contextLength of 96 fits; fewer sequences have room for more.');
    const fits = await open({ sequences: 2, contextLength: 96 });
    await fits.dispose();
    pretend({ memory: 50 * MIB });
    const none = await refusal(open());
    assert.match(none.hint!, /Choose another GPU/);
  });

  test('memory comes back with a model: it can be opened again and again', async () => {
    pretend({ memory: 200 * MIB });
    for (let i = 0; i < 5; i++) await (await open()).dispose();
  });

  test('of cubins in one file the best for the device is taken', async () => {
    const [ours, other] = [PROGRAM, Buffer.from('beef\n')];
    const openOnly = async (cubins: readonly Cubin[]) =>
      openArtifact(gpuArtifact(packCubins(cubins), 'model.cubins'), { target: 'cuda', threads: 1 });
    const best = await openOnly([
      { capability: 89, bytes: other },
      { capability: 90, bytes: ours },
      { capability: 120, bytes: other },
    ]);
    await best.dispose();
    const none = await refusal(
      openOnly([
        { capability: 89, bytes: ours },
        { capability: 100, bytes: ours },
      ]),
    );
    assert.match(none.message, /model.cubins holds no code for Fake GPU 0 \(sm_90\)/);
    assert.match(none.hint!, '--arch sm_90');
    const damaged = Buffer.from(packCubins([{ capability: 90, bytes: ours }]));
    damaged.writeBigInt64LE(1n << 40n, 24);
    assert.match((await refusal(openArtifact(gpuArtifact(damaged, 'model.cubins')))).message, 'holds no code');
  });

  test('kernels that compute something else are named', async () => {
    pretend({ sums: 8 });
    const { message } = await refusal(open());
    assert.match(message, /self-test failed: kernel fake_gemv computed .* wrong results on Fake GPU 0/);
    assert.equal(contextLog(), ['create 0', 'destroy 0']);
  });

  test('a GPU that fails ends every model of the process with its reason, and none is opened after it', async () => {
    const [lost, idle] = await Promise.all([open(), open()]);
    pretend({ fail: 700 });
    const reason = /failed: an illegal memory access was encountered \(CUDA_ERROR_ILLEGAL_ADDRESS\)/;
    const anew = 'No GPU works in this process any more: start it anew.';
    const first = await refusal(lost.generate([A], greedy).result);
    assert.match(first.message, /^the engine failed: /);
    // The one that shared the context finds out when it is asked.
    for (const refused of [
      first,
      await refusal(lost.generate([A], greedy).result),
      await refusal(open()),
      await refusal(idle.generate([A], greedy).result),
    ]) {
      assert.match(refused.message, reason);
      assert.is(refused.hint, anew);
    }
    await Promise.all([lost.dispose(), idle.dispose()]);
    assert.equal(contextLog(), ['create 0', 'destroy 0']);
    // Nor where nobody holds the context any more.
    const later = await refusal(open());
    assert.match(later.message, reason);
    assert.is(later.hint, anew);
  });

  test('what a GPU refuses without an end to it leaves other models at work', async () => {
    const [refused, other] = await Promise.all([open(), open()]);
    pretend({ refuse: 701 });
    const { message, hint } = await refusal(refused.generate([A], greedy).result);
    assert.match(message, /^the engine failed: /);
    assert.is(hint, 'Open the model again.');
    pretend({});
    assert.is((await other.generate([A], greedy).result).text, LETTERS);
    const again = await open();
    assert.is((await again.generate([A], greedy).result).text, LETTERS);
    await Promise.all([refused, other, again].map((model) => model.dispose()));
  });

  test('its limits are measured by itself', async () => {
    const model = await open();
    const { machine } = await model.benchmark({ promptTokens: [4], newTokens: 4, repetitions: 1 });
    assert.ok(machine.readGBps.median > 0 && machine.int8GMACps.median > 0);
    await model.dispose();
  });
}

if (process.platform !== 'linux')
  skip(test, 'the engine on a GPU', 'the driver that pretends one is written for Linux');
else if (!isFake()) rerunWithFakeGpu(fileURLToPath(import.meta.url));
else define();

test.run();
