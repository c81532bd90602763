import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { compile } from '../../compiler/index.ts';
import { type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { readArtifact } from '../../runtime/src/artifact.ts';
import { expectedOf, weightsOf } from '../../runtime/src/manifest.ts';
import { openDevice } from '../../runtime/src/webgpu/device.ts';
import type { WebGpuExecutor } from '../../runtime/src/webgpu/executor.ts';
import { loadWebGpu } from '../../runtime/src/webgpu/node.ts';
import { openExecutor } from '../../runtime/src/webgpu/open.ts';
import { skip } from '../support/beds.ts';
import { assertLogits, relativeError } from '../support/logits.ts';
import { oracleLogits } from '../support/oracle.ts';
import { refusal } from '../support/refusal.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { whyNoWebGpu } from '../support/webgpu.ts';

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const { model: file, tokens, greedy, logits } = JSON.parse(readFileSync(join(FIXTURES, 'b158-i2s.json'), 'utf8'));
const NEW_TOKENS = 3;

const tests = suite('a model on WebGPU');
const reason = await whyNoWebGpu();

/**
 * Makes the next GPU that is opened one that can be lost, and returns what loses it. It passes for more than a driver on the CPU:
 * so the first model runs all kernels that GPUs run, and the one that is loaded again those for CPUs.
 */
async function losable(): Promise<(message: string) => void> {
  const gpu = await loadWebGpu();
  const requestAdapter = gpu.requestAdapter.bind(gpu);
  let tell: (info: GPUDeviceLostInfo) => void;
  const lost = new Promise<GPUDeviceLostInfo>((resolve) => {
    tell = resolve;
  });
  let device: GPUDevice | undefined;
  gpu.requestAdapter = async (options) => {
    gpu.requestAdapter = requestAdapter;
    const adapter = (await requestAdapter(options))!;
    const { description } = adapter.info;
    Object.defineProperty(adapter, 'info', { value: { description, isFallbackAdapter: false } });
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      device = await requestDevice(descriptor);
      Object.defineProperty(device, 'lost', { value: lost });
      return device;
    };
    return adapter;
  };
  return (message) => {
    tell({ message, reason: 'unknown' } as GPUDeviceLostInfo);
    device!.destroy();
  };
}

if (reason === undefined) {
  let model: Model;
  let artifact: string;
  let lose: (message: string) => void;

  tests.before(async () => {
    lose = await losable();
    const out = temporaryFolder('webgpu');
    ({ artifact } = await compile(join(FIXTURES, file), { target: 'webgpu', out }));
    // Every kernel tests itself on every matrix: its integer sums are those of the CPU.
    model = await openArtifact(artifact, { kv: 'f32', sequences: 1 });
  });

  tests('logits are those of the golden model, but for the order in which the head adds', async () => {
    const all = new Float32Array(new Uint8Array(readFileSync(join(FIXTURES, logits))).buffer);
    const { data, rows, vocab } = await model.logits(tokens);
    assert.is(rows, tokens.length);
    const rowsOf = (from: Float32Array) =>
      tokens.map((_: number, i: number) => from.subarray(i * vocab, (i + 1) * vocab));
    const [actual, expected] = [rowsOf(data), rowsOf(all)];
    assertLogits(actual, expected);
    const errors = actual.map((row: Float32Array, i: number) => relativeError(row, expected[i]));
    assert.ok(Math.min(...errors) <= 1e-6, `${errors}`);
  });

  tests('it continues as the golden model does, token by token', async () => {
    const result = await model.generate(tokens, { temperature: 0, maxTokens: NEW_TOKENS, ignoreEos: true }).result;
    assert.equal(result.tokens, greedy.slice(0, NEW_TOKENS));
  });

  tests('what was begun for a token that did not come is forgotten', async () => {
    const options = { temperature: 0, ignoreEos: true };
    const { tokens: two } = await model.generate(tokens.slice(0, -2), { ...options, maxTokens: 2 }).result;
    assert.is(two.length, 2);
    const { tokens: again } = await model.generate(tokens, { ...options, maxTokens: NEW_TOKENS }).result;
    assert.equal(again, greedy.slice(0, NEW_TOKENS));
  });

  tests('a GPU that is lost ends what runs; the next request finds the model loaded again', async () => {
    const running = model.generate(tokens, { temperature: 0, maxTokens: 40, ignoreEos: true });
    const pieces = running[Symbol.asyncIterator]();
    await pieces.next();
    lose('the driver gave up');
    const error = await refusal(async () => {
      while (!(await pieces.next()).done);
    });
    assert.match(error.message, 'the GPU was lost: the driver gave up');
    assert.match(error.hint!, 'loaded again');
    const result = await model.generate(tokens, { temperature: 0, maxTokens: NEW_TOKENS, ignoreEos: true }).result;
    assert.equal(result.tokens, greedy.slice(0, NEW_TOKENS));
    await model.dispose();
  });

  /** What computes a compiled model, with all kernels that GPUs run. */
  async function executorOf(path: string, asked: { context: number; kv: 'f16' | 'f32' }): Promise<WebGpuExecutor> {
    const { manifest, folder } = await readArtifact(path);
    const entry = manifest.targets.webgpu!;
    const weights = weightsOf(manifest, entry);
    const options = { ...expectedOf(entry), ...asked, weightsBytes: weights.bytes, sequences: 1, chunk: 256 };
    const text = readFileSync(join(folder, entry.library), 'utf8');
    const device = { ...(await openDevice(await loadWebGpu())), fallback: false };
    return openExecutor(device, options, text, createReadStream(join(folder, weights.file)), () => {});
  }

  /** A step of tokens at some positions of a text, and the logits of those that are wanted. */
  async function stepOf(executor: WebGpuExecutor, text: readonly number[], positions: readonly number[], from: number) {
    const wanted = positions.filter((position) => position >= from);
    const batch = positions.map((position) => ({
      id: text[position % text.length]!,
      position,
      sequence: 0,
      logitsRow: wanted.indexOf(position),
      hiddenRow: -1,
    }));
    const { logits: rows } = await executor.step(batch);
    return wanted.map((_, i) => rows.slice(i * executor.vocab, (i + 1) * executor.vocab));
  }

  const positionsFrom = (first: number, count: number) => Array.from({ length: count }, (_, i) => first + i);

  tests('long contexts, as a whole, and shared among workgroups, give the same logits', async () => {
    const executor = await executorOf(artifact, { context: 300, kv: 'f16' });
    const step = (positions: readonly number[]) => stepOf(executor, tokens, positions, 256);
    // Every fifth of the positions before; the others stay zero.
    await step(Array.from({ length: 51 }, (_, i) => 5 * i));
    const together = await step([254, 255, 256, 257, 258]);
    const apart = await step([258, 254, 255, 256, 257]);
    const few = await step([256, 257, 258]);
    const one = await step([258]);
    assert.is(together.length, 3);
    assertLogits([apart[1]!, apart[2]!, apart[0]!], together);
    assertLogits(few, together);
    assertLogits(one, together.slice(2));
    assert.ok(relativeError(together[0]!, together[1]!) > 1e-2, 'other positions, other logits');
    const far = await step(positionsFrom(270, 9));
    assertLogits(
      await step([278, 270, 274, 276, 277]),
      [8, 0, 4, 6, 7].map((i) => far[i]!),
    );
    assertLogits(await step([277, 278]), far.slice(7));
    assertLogits(await step([278]), far.slice(8));
    executor.device.gpu.destroy();
  });

  tests('norms of heads and windows: many tokens, a few and one give the logits of the reference', async () => {
    const description: Description = {
      architecture: 'gemma3',
      embedding: 64,
      ffn: 90,
      layers: 3,
      heads: 4,
      kvHeads: 2,
      headDim: 40,
      vocab: 70,
      context: 64,
      ropeBase: 1e6,
      epsilon: 1e-6,
      embeddingEncoding: 'f16',
      window: { positions: 7, pattern: 3 },
      seed: 301,
    };
    const { file: bytes, weights } = synthetic(description);
    const folder = temporaryFolder('webgpu-norms');
    const path = join(folder, 'model.gguf');
    writeFileSync(path, bytes);
    const random = new Random(description.seed);
    const text = Array.from({ length: 37 }, () => random.integer(description.vocab));
    const expected = oracleLogits(description, weights, text);
    const executor = await executorOf((await compile(path, { target: 'webgpu', out: folder })).artifact, {
      context: 64,
      kv: 'f32',
    });
    assertLogits(await stepOf(executor, text, positionsFrom(0, 34), 0), expected.slice(0, 34));
    assertLogits(await stepOf(executor, text, [34], 34), expected.slice(34, 35));
    assertLogits(await stepOf(executor, text, [35, 36], 35), expected.slice(35));
    assertLogits(await stepOf(executor, text, [36], 36), expected.slice(36));
    executor.device.gpu.destroy();
  });
} else {
  skip(tests, 'logits, tokens, and a GPU that is lost', reason);
}

tests.run();
