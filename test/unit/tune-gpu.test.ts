import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, importModel, readTuned, type Tuned, tuneModel, writeTuned } from '../../compiler/index.ts';
import { defaultGpuTile, GPU_CLASSES, gpuKernel } from '../../compiler/kernels/bitlinear-t16.ts';
import { checkGpuTile, gpuTiles } from '../../compiler/kernels/gpu-tiles.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { selectGpuKernels } from '../../compiler/passes/select-gpu-kernels.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { shapesOf } from '../../compiler/tune/candidates.ts';
import { gpuCandidates } from '../../compiler/tune/gpu-bed.ts';
import type { TuningRuntime } from '../../compiler/tune/workbench.ts';
import { packageRoot } from '../../package-root.ts';
import { GpuBench } from '../../runtime/src/gpu-bench.ts';
import { FAKE_NVCC, isFake, pretend, rerunWithFakeGpu } from '../fixtures/fake-gpu/fake-gpu.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const MODEL = join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf');
const folder = temporaryFolder('tune-gpu');

/** Models take the seconds that are said of their artifacts' folders; kernels what the driver pretends. */
function runtime(seconds: (artifact: string) => number): TuningRuntime {
  return {
    workbench: async () => {
      throw new Error('no CPU is tuned');
    },
    gpuBench: async (device) => new GpuBench(device),
    openModel: async (artifact) => ({
      run: async () => ({ prefill: seconds(artifact), perToken: seconds(artifact) / 128, perStep: 1e-3 }),
      close: async () => {},
    }),
  };
}

const tune = (
  name: string,
  more: object = {},
  seconds = (artifact: string) => (artifact.includes('.tuning-') ? 1 : 2),
) =>
  tuneModel(MODEL, runtime(seconds), {
    target: 'cuda',
    threads: 1,
    minutes: 60,
    keep: 1,
    file: join(folder, name, 'tuned.json'),
    out: join(folder, name),
    ...more,
  });

/** Names of the kernels of a shape that tuning tries, by class. */
async function candidates() {
  const [shape] = shapesOf(planForGpu(await importModel(MODEL)));
  const names = GPU_CLASSES.map(
    (takes) => [takes, gpuCandidates(shape!, takes, { keep: 1, capability: 90 }).map(({ spec }) => spec.name)] as const,
  );
  return { shape: shape!, names: Object.fromEntries(names) as Record<(typeof GPU_CLASSES)[number], string[]> };
}

function define(): void {
  process.env.NVCC = FAKE_NVCC;
  process.env.BITNET_CACHE = join(folder, 'cache');
  test.before.each(() => pretend({}));

  test('what is clearly faster is chosen for its class, checked before, and compiled', async () => {
    const { shape, names } = await candidates();
    const [, fast, slow] = names.some;
    pretend({
      [fast!]: 500_000,
      [slow!]: 400_000,
      [`wrong-${slow}`]: 1,
      [names.one[0]!]: 3000,
      [names.few[1]!]: 999_800,
    });
    const notices: string[] = [];
    const onProgress = ({ stage, message }: { stage: string; message: string }) => {
      if (stage === 'notice') notices.push(message);
    };
    const { tuned, file } = await tune('chosen', { onProgress });
    assert.equal(notices, [`${slow} computes wrong here, and is left out`]);
    assert.equal([tuned.choice, tuned.complete, tuned.target], ['tuned', true, 'cuda']);
    assert.equal(tuned.machine.gpu, { name: 'Fake GPU 0', capability: 90, l2: 1 << 16, driver: '13.0' });
    const found = tuned.shapes.find(({ m, k }) => m === shape.m && k === shape.k)!;
    const { one, few, some, many } = found.layouts[0]!.kernels;
    assert.is(gpuKernel(shape, some!).name, fast);
    assert.match(some!.reason, 'tuned: 2.00 times');
    // Times are those of one call, whatever the clock makes of many.
    const called = found.candidates.find(({ kernel }) => kernel === names.one[0])!;
    assert.ok(Math.abs(called.nanoseconds.median - 3000) < 1, String(called.nanoseconds.median));
    // What gains 0.2 µs is not taken.
    for (const [takes, kernel] of [
      ['one', one],
      ['few', few],
      ['many', many],
    ] as const) {
      assert.equal(kernel!.tile, defaultGpuTile(takes, shape).tile, takes);
    }
    assert.equal(await readTuned(file), tuned);
    const { manifest, notices: stale } = await compile(MODEL, {
      target: 'cuda',
      out: join(folder, 'out'),
      tuned: [tuned],
    });
    assert.equal(stale, []);
    assert.ok(manifest.targets.cuda!.kernels.some(({ name, reason }) => name === fast && reason === some!.reason));
  });

  test('tuning goes on where it was interrupted, and is never slower as a whole', async () => {
    const stop = new AbortController();
    let timed = 0;
    const onProgress = ({ stage }: { stage: string }) => {
      if (stage === 'kernels' && ++timed === 30) stop.abort(new Error('enough'));
    };
    const ended = await tune('again', { onProgress, signal: stop.signal }).catch((error: Error) => error.message);
    assert.is(ended, 'enough');
    assert.ok(existsSync(join(folder, 'again', 'tuned.json.state')));
    const { names } = await candidates();
    pretend({ [names.few[1]!]: 1000 });
    const { tuned } = await tune('again', {}, (artifact) => (artifact.includes('.tuning-') ? 2 : 1));
    assert.equal([tuned.choice, tuned.complete], ['default', true]);
    assert.not.ok(existsSync(join(folder, 'again', 'tuned.json.state')));
  });

  test('compiling uses what an earlier tuning left, unless it is stale', async () => {
    const { shape, names } = await candidates();
    const kernel = names.one[1]!;
    pretend({ [kernel]: 1000, [names.some[1]!]: 1000, [names.many.at(-1)!]: 1000 });
    const { tuned, file } = await tune('kept', { file: undefined });
    const plan = planForGpu(await importModel(MODEL));
    const { some, many } = tuned.shapes.find(({ m, k }) => m === shape.m && k === shape.k)!.layouts[0]!.kernels;
    const kernels = selectGpuKernels(plan, 1, tuned).filter(({ gemv }) => gemv.m === shape.m && gemv.k === shape.k);
    for (const { others } of kernels) {
      assert.ok(others!.some(({ name }) => name === gpuKernel(shape, some!).name));
      assert.ok(others!.some(({ name }) => name === gpuKernel(shape, many).name));
    }
    const text = (own?: Tuned) => renderCuda(plan, 1, own).find(({ file }) => file === 'model.cu')!.text;
    assert.is.not(text(tuned), text());
    assert.is(text(tuned).split('\n').length, text().split('\n').length);
    const used = async (options: object = {}) => {
      const {
        manifest,
        tuned: files,
        notices,
      } = await compile(MODEL, {
        target: 'cuda',
        out: join(folder, 'kept'),
        ...options,
      });
      return {
        has: manifest.targets.cuda!.kernels.some(({ name }) => name === kernel),
        files,
        notices: notices.join(),
      };
    };
    assert.equal(await used(), { has: true, files: [{ target: 'cuda', file }], notices: '' });
    assert.equal(await used({ tuned: false }), { has: false, files: [], notices: '' });
    pretend({ release: 12090 });
    const old = await used();
    assert.not.ok(old.has);
    assert.match(old.notices, /is not used, NVIDIA's driver was 13\.0 and is 12\.9: tune the model again/);
    pretend({});
    assert.match((await used({ arch: 'sm_80,sm_90' })).notices, /the architecture was sm_90 and is sm_80, sm_90/);
    pretend({ devices: 0 });
    assert.match((await used()).notices, /the GPU was Fake GPU 0 and is none/);
    pretend({});
    const named = async (changes: Partial<Tuned>) =>
      (await refusal(() => compile(MODEL, { target: 'cuda', out: folder, tuned: [{ ...tuned, ...changes }] }))).message;
    const gpu = tuned.machine.gpu!;
    for (const [changes, message] of [
      [{ machine: { ...tuned.machine, gpu: { ...gpu, name: 'Riva 128' } } }, /the GPU was Riva 128 and is Fake GPU 0/],
      [{ machine: { ...tuned.machine, gpu: { ...gpu, l2: 7 } } }, /its second-level cache was 7 and is 65536/],
      [{ compiler: 'nvcc 1' }, /the compiler was nvcc 1 and is nvcc 13\.0/],
      [{ version: '0.0.0' }, /the version of bitnet-toolchain was 0\.0\.0/],
      [{ target: 'ref' }, /the target was ref and is cuda/],
      [{ shapes: tuned.shapes.map((one) => ({ ...one, m: one.m + 16 })) }, /of other matrices: it has none of/],
    ] as const) {
      assert.match(await named(changes), message);
    }
    const split = defaultGpuTile('few', shape);
    const impossible = {
      ...split,
      reason: 'made up',
      tile: { ...split.tile, block: { warps: 8, split: 3, stages: 3 } },
    };
    const layouts = tuned.shapes[0]!.layouts.map((one) => ({ ...one, kernels: { ...one.kernels, few: impossible } }));
    assert.match(
      await named({ shapes: tuned.shapes.map((one) => ({ ...one, layouts })) }),
      /split must be 1, 2, 4 or 8/,
    );
  });

  test('a GPU that is not there is refused, and one that nothing is compiled for', async () => {
    assert.match(
      (await refusal(() => tune('none', { device: 3 }))).message,
      /there is no GPU 3, only 0 \(Fake GPU 0\)/,
    );
    pretend({ devices: 0 });
    assert.match((await refusal(() => tune('none'))).message, /NVIDIA's driver finds no GPU/);
  });

  test('when there is no time the default stays, and it says so', async () => {
    const { tuned, file } = await tune('short', { minutes: 1e-6 });
    assert.equal([tuned.choice, tuned.complete, tuned.shapes.length], ['default', false, 0]);
    await writeTuned(file, tuned);
  });

  test('tiles to try are those that can be exact on the GPU, each once, and the default is one of them', async () => {
    for (const [m, k] of [
      [3840, 2560],
      [13824, 2560],
      [2560, 6912],
      [16, 100],
      [1040, 640],
    ] as const) {
      for (const capability of [80, 86, 90, 120]) {
        for (const takes of GPU_CLASSES) {
          const tiles = gpuTiles(takes, { m, k }, capability);
          const names = tiles.map((tile) => gpuKernel({ m, k }, tile).name);
          assert.is(new Set(names).size, names.length);
          for (const tile of tiles) checkGpuTile(takes, { m, k }, tile, capability);
          checkGpuTile(takes, { m, k }, defaultGpuTile(takes, { m, k }, capability === 90), capability);
          if (takes !== 'many') assert.ok(tiles.length > 0, `${m} ${k} ${capability} ${takes}`);
          if (takes === 'one') continue;
          const teams = tiles.some(({ tile }) => tile.block!.split > 1);
          assert.is(teams, capability >= 90 && takes !== 'many', `${m} ${k} ${capability} ${takes}`);
        }
      }
    }
  });

  test.run();
}

if (isFake()) define();
else rerunWithFakeGpu(fileURLToPath(import.meta.url));
