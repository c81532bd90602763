import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type LoadOptions, openArtifact } from '../../runtime/src/index.ts';
import {
  contextLog,
  gpuArtifact,
  isFake,
  pretend,
  pretendNccl,
  rerunWithFakeGpu,
  sharedArtifact,
} from '../fixtures/fake-gpu/fake-gpu.ts';
import { A, VOCAB } from '../fixtures/toy-model/toy.ts';
import { skip } from '../support/beds.ts';
import { refusal as refusalOf } from '../support/refusal.ts';

const refusal = (work: Promise<unknown>) => refusalOf(() => work);

const LETTERS = 'bcdefghijklmnopqrstuvwxyzabcdefgh';
const greedy = { temperature: 0, maxTokens: LETTERS.length, ignoreEos: true };

const open = (options: LoadOptions = {}) => openArtifact(sharedArtifact(), { target: 'cuda', threads: 1, ...options });

function define(): void {
  test('without NCCL the error says what to install', async () => {
    pretendNccl(false);
    pretend({ devices: 2 });
    const error = await refusal(open({ devices: [0, 1] }));
    assert.match(error.message, /several GPUs cannot share a model: libnccl.so.2 cannot be opened \(.*file too short/);
    assert.match(error.hint!, /libnccl2.*nvidia-nccl-cu13/);
    pretendNccl(true);
  });

  test.before.each(() => {
    pretend({ devices: 2 });
    contextLog();
  });

  test('two GPUs, each with half of every row, tell what one tells', async () => {
    const [one, two] = [await openArtifact(gpuArtifact(), { threads: 1 }), await open({ devices: [0, 1] })];
    assert.is(two.device, '2 × Fake GPU 0');
    assert.is(two.target, 'cuda-x2');
    for (const model of [one, two]) {
      assert.is((await model.generate([A], greedy).result).text, LETTERS);
      assert.is((await model.generate([A], { ...greedy, temperature: 1, topK: 1 }).result).text, LETTERS);
    }
    const hot = { ...greedy, temperature: 100, topK: 0, topP: 1, minP: 0, seed: 5 };
    const [alone, shared] = await Promise.all([one, two].map((model) => model.generate([A], hot).result));
    assert.is(shared!.text, alone!.text);
    assert.is.not(shared!.text, LETTERS);
    const tokens = [3, 300, 4, 511, 0];
    assert.equal((await two.logits(tokens)).data, (await one.logits(tokens)).data);
    assert.is(two.memory().weights, one.memory().weights);
    assert.is(two.memory().weights, VOCAB * VOCAB * 4);
    await Promise.all([one.dispose(), two.dispose()]);
  });

  test('many sequences at once, and steps that are launched ahead of the answer', async () => {
    const model = await open({ devices: [1, 0], sequences: 8 });
    const starts = Array.from({ length: 24 }, (_, i) => i % 6);
    const told = starts.map(async (from) => (await model.generate([from], { ...greedy, maxTokens: 12 }).result).text);
    for (const [i, text] of (await Promise.all(told)).entries()) {
      assert.is(text, 'abcdefghijklmnopqrst'.slice((i % 6) + 1, (i % 6) + 13));
    }
    await model.dispose();
    assert.equal(contextLog(), ['connect 1 0', 'leave', 'leave']);
  });

  test('without a choice it takes the first GPUs', async () => {
    const model = await openArtifact(sharedArtifact(), { threads: 1 });
    await model.dispose();
    assert.is(contextLog()[0], 'connect 0 1');
  });

  test('GPUs that cannot be are refused', async () => {
    const twice = await refusal(open({ devices: [1, 1] }));
    assert.match(twice.message, 'option devices is [ 1, 1 ]');
    const absent = await refusal(open({ devices: [0, 2] }));
    assert.match(absent.message, 'there is no GPU 2');
    pretend({ devices: 1 });
    const few = await refusal(open());
    assert.match(few.message, 'has no target cuda, only cuda-x2');
    assert.match((await refusal(openArtifact(sharedArtifact()))).message, 'there is no GPU 1');
    const three = await refusal(open({ devices: [0, 1, 2] }));
    assert.match(three.message, 'has no target cuda-x3, only cuda-x2');
    assert.match(three.hint!, '--target cuda --gpus 3');
    const alone = await refusal(openArtifact(gpuArtifact(), { devices: [0, 1] }));
    assert.match(alone.hint!, '--target cuda --gpus 2');
    const one = await refusal(openArtifact(sharedArtifact(), { device: 0 }));
    assert.match(one.message, 'this program is for 2 GPUs that share the model');
    const both = await refusal(open({ device: 0, devices: [0, 1] }));
    assert.match(both.message, 'options device and devices say the same');
  });

  test('a GPU with other sums is named', async () => {
    pretend({ devices: 3, more: 2 });
    const { message } = await refusal(open({ devices: [0, 2] }));
    assert.match(message, /self-test failed: kernel fake_gemv .* wrong results on Fake GPU 2/);
    assert.equal(contextLog(), ['connect 0 2', 'abort', 'abort']);
  });

  test('where one GPU fails, nobody waits for it', async () => {
    const model = await open({ devices: [0, 1] });
    assert.is((await model.generate([A], greedy).result).text, LETTERS);
    pretend({ devices: 2, fail: 700, only: 1 });
    const { message } = await refusal(model.generate([A], greedy).result);
    assert.match(message, /illegal memory access|another GPU that shares the model has failed/);
    assert.match((await refusal(model.generate([A], greedy).result)).message, 'the engine failed');
    await model.dispose();
  });

  test('limits are those of all GPUs together', async () => {
    const [one, two] = [await openArtifact(gpuArtifact(), { threads: 1 }), await open({ devices: [0, 1] })];
    const measured = async (model: typeof one) =>
      (await model.benchmark({ promptTokens: [4], newTokens: 4, repetitions: 1 })).machine.int8GMACps.median;
    assert.is(await measured(two), 2 * (await measured(one)));
    await Promise.all([one.dispose(), two.dispose()]);
  });
}

if (process.platform !== 'linux')
  skip(test, 'an engine on several GPUs', 'the driver that pretends them is written for Linux');
else if (!isFake()) rerunWithFakeGpu(fileURLToPath(import.meta.url));
else define();

test.run();
