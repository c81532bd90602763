import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { readArtifact } from '../../runtime/src/artifact.ts';
import { expectedOf, weightsOf } from '../../runtime/src/manifest.ts';
import { openDevice } from '../../runtime/src/webgpu/device.ts';
import { loadWebGpu } from '../../runtime/src/webgpu/node.ts';
import { openExecutor } from '../../runtime/src/webgpu/open.ts';
import { skip } from '../support/beds.ts';
import { assertLogits, relativeError } from '../support/logits.ts';
import { refusal } from '../support/refusal.ts';
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

  tests('long contexts, as a whole, and shared among workgroups, give the same logits', async () => {
    const { manifest, folder } = await readArtifact(artifact);
    const entry = manifest.targets.webgpu!;
    const weights = weightsOf(manifest, entry);
    const options = {
      ...expectedOf(entry),
      weightsBytes: weights.bytes,
      context: 300,
      kv: 'f16',
      sequences: 1,
      chunk: 256,
    } as const;
    const text = readFileSync(join(folder, entry.library), 'utf8');
    const device = await openDevice(await loadWebGpu());
    const pieces = createReadStream(join(folder, weights.file));
    const executor = await openExecutor(device, options, text, pieces, () => {});
    const step = async (positions: readonly number[]) => {
      const wanted = positions.filter((position) => position >= 256);
      const batch = positions.map((position) => ({
        id: tokens[position % tokens.length],
        position,
        sequence: 0,
        logitsRow: wanted.indexOf(position),
        hiddenRow: -1,
      }));
      const { logits } = await executor.step(batch);
      const { vocab } = executor;
      return wanted.map((_, i) => logits.slice(i * vocab, (i + 1) * vocab));
    };
    // Every fifth of the positions before; the others stay zero.
    await step(Array.from({ length: 51 }, (_, i) => 5 * i));
    const together = await step([254, 255, 256, 257, 258]);
    const few = await step([256, 257, 258]);
    const one = await step([258]);
    assert.is(together.length, 3);
    assertLogits(few, together);
    assertLogits(one, together.slice(2));
    assert.ok(relativeError(together[0]!, together[1]!) > 1e-2, 'other positions, other logits');
    device.gpu.destroy();
  });
} else {
  skip(tests, 'logits, tokens, and a GPU that is lost', reason);
}

tests.run();
