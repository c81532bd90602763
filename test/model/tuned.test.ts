import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, importModel, readTuned, type Tuned, tunedPath, tuneModel, writeTuned } from '../../compiler/index.ts';
import { LAYOUTS } from '../../compiler/kernels/index.ts';
import { statePath } from '../../compiler/tune/state.ts';
import { packageRoot } from '../../package-root.ts';
import { KernelBench } from '../../runtime/src/kernel-bench.ts';
import { nativeTarget } from '../../targets/index.ts';
import { type Bed, skip, testBeds } from '../support/beds.ts';
import { withEnvironment } from '../support/environment.ts';
import { assertSelfTest, type Compiled, compileFor, logitsOf } from '../support/logits.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { madeUpRuntime, madeUpTuning } from '../support/tuning.ts';

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const fixtures = readdirSync(FIXTURES).filter((file) => file.endsWith('.gguf'));
/** The one that every target is tried with; the others on this machine's own only. It reads all matrices whole. */
const EVERYWHERE = 'bitnet-silu-tq1.gguf';
const MIXED = [LAYOUTS.tl2.id, LAYOUTS.i2.id, LAYOUTS.tl1.id];

const { beds, absent } = await testBeds();
const native = beds.find(({ target }) => target.id === nativeTarget().id)!;
const tuned = suite('tuned models');
const folder = temporaryFolder('model-tuned');
const source = join(FIXTURES, EVERYWHERE);

async function logitBytes(model: Compiled, file: string): Promise<Buffer> {
  const tokens = [1, 17, 3, 250, 9, 41, 77];
  const rows: Float32Array[] = [];
  for (const chunk of [tokens.length, 1]) rows.push(...(await logitsOf(model, tokens, file, { chunk })));
  return Buffer.concat(rows.map((row) => new Uint8Array(row.slice().buffer)));
}

/** A made-up tuning of a fixture for a bed. */
const tuningOf = async (
  { target, compiler }: Bed,
  fixture: string,
  layouts: readonly string[] = MIXED,
): Promise<Tuned> => madeUpTuning(await importModel(join(FIXTURES, fixture)), target, layouts, compiler.version);

for (const bed of beds) {
  for (const fixture of bed === native ? fixtures : [EVERYWHERE]) {
    tuned(`${fixture} on ${bed.target.id}: layouts and tiles of every kind give the same logits`, async () => {
      const path = join(FIXTURES, fixture);
      const file = join(folder, `${fixture}-${bed.target.id}`);
      const plain = await compileFor(bed, path, folder, { tuned: false });
      const mixed = await compileFor(bed, path, folder, { tuned: [await tuningOf(bed, fixture)] });
      assert.is.not(mixed.weights, plain.weights);
      const { layout, kernels } = mixed.manifest.targets[bed.target.id];
      assert.ok(layout.split('+').length >= 2, layout);
      assert.is(basename(mixed.weights), `${layout}.bin`);
      const whole = kernels.filter(({ name }) => !/_i2_(rows|columns)_/.test(name));
      assert.ok(whole.every(({ reason }) => reason === 'tuned: made up'));
      await assertSelfTest(mixed);
      assert.ok((await logitBytes(mixed, file)).equals(await logitBytes(plain, file)));
    });
  }
}
for (const { target, reason } of absent) skip(tuned, `tuned models on ${target.id}`, reason);

tuned('compiling uses what an earlier tuning left, unless it is stale, damaged, or not wanted', async () => {
  await withEnvironment({ BITNET_CACHE: join(folder, 'cache') }, async () => {
    const ir = await importModel(source);
    const options = { out: join(folder, 'automatic'), target: 'ref', threads: 1 };
    const ref = beds.find(({ target }) => target.id === 'ref')!;
    const value = await tuningOf(ref, EVERYWHERE);
    const file = tunedPath(ir.architecture, value.shapes, 'ref');
    mkdirSync(dirname(file), { recursive: true });
    await writeTuned(file, value);
    const used = await compile(source, options);
    assert.equal(used.tuned, [{ target: 'ref', file }]);
    assert.equal(used.notices, []);
    assert.match(used.manifest.targets.ref.layout, /\+/);
    const unused = [
      ['not wanted', { tuned: false }, /^$/],
      ['other threads', { threads: 3 }, /is not used, the number of threads was 1 and is 3: tune the model again/],
      ['a kernel was asked for', { kernel: 'i2' }, /^$/],
    ] as const;
    for (const [what, more, notice] of unused) {
      const { tuned: files, notices, manifest } = await compile(source, { ...options, ...more });
      assert.equal(files, [], what);
      assert.match(notices.join(), notice);
      assert.is(manifest.targets.ref.layout, LAYOUTS.i2.id, what);
    }
    await writeTuned(file, { ...value, choice: 'default' });
    assert.is((await compile(source, options)).manifest.targets.ref.layout, LAYOUTS.i2.id);
    writeFileSync(file, '{');
    assert.match((await compile(source, options)).notices.join(), /is no JSON: it is not used/);
  });
});

tuned('a tuned file that is named and stale is refused: what differs, and what to do', async () => {
  const value = await tuningOf(native, EVERYWHERE);
  const options = { out: join(folder, 'stale'), threads: 1 };
  for (const [other, message] of [
    [{ compiler: 'c++ 0' }, /stale: the C\+\+ compiler was c\+\+ 0 and is /],
    [{ version: '0.0.0' }, /stale: the version of bitnet-toolchain was 0\.0\.0/],
    [{ threads: 5 }, /stale: the number of threads was 5 and is 1/],
    [{ machine: { cpu: 'Z80', caches: [] as number[] } }, /stale: the CPU was Z80 and is .*; its caches was unknown/],
    [{ target: 'x86-avx9' }, /stale: the target was x86-avx9/],
    [{ shapes: value.shapes.map((shape) => ({ ...shape, m: shape.m + 16 })) }, /of other matrices: it has none of/],
  ] as const) {
    const error = await refusal(() => compile(source, { ...options, tuned: [{ ...value, ...other }] }));
    assert.match(error.message, message);
    assert.match(error.hint!, /bitnet tune MODEL/);
  }
  const both = await refusal(() => compile(source, { ...options, tuned: [value], kernel: 'tl1' }));
  assert.match(both.message, /both asked for/);
  assert.not.ok(existsSync(options.out));
});

/** Look-ups of three weights for one token are much the fastest, their default tile or not. */
const favoursTl2 = (name: string): number => (name.includes('tl2_gemv') ? 1000 : 4000);

tuned('tuning: chosen by what was measured, kept when it is interrupted, never slower as a whole', async () => {
  const bench = new KernelBench(1);
  const file = join(folder, 'tuning', 'tuned.json');
  const options = { threads: 1, minutes: 100, keep: 0, file, out: join(folder, 'tuning', 'artifacts') };
  const interrupt = new AbortController();
  const first = madeUpRuntime(bench, favoursTl2, () => 1);
  const stopping = {
    ...first,
    workbench: async () => {
      const made = await first.workbench(1);
      return {
        ...made,
        time: (...args: Parameters<typeof made.time>) => {
          if (first.timed.length > 40) interrupt.abort(new Error('interrupted'));
          return made.time(...args);
        },
      };
    },
  };
  try {
    await tuneModel(source, stopping, { ...options, signal: interrupt.signal });
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'interrupted');
  }
  assert.ok(existsSync(statePath(file)));
  assert.not.ok(existsSync(file));

  const second = madeUpRuntime(bench, favoursTl2, (artifact) => (artifact.includes('.tuning-') ? 0.9 : 1));
  const { tuned: found } = await tuneModel(source, second, options);
  const before = new Set(first.timed.slice(0, 10));
  assert.not.ok(
    second.timed.slice(0, 5).some((name) => before.has(name)),
    'what was timed is not timed again',
  );
  assert.ok(found.complete && found.choice === 'tuned');
  assert.not.ok(existsSync(statePath(file)));
  assert.equal(await readTuned(file), JSON.parse(JSON.stringify(found)));
  for (const { layout, layouts } of found.shapes) {
    assert.is(layout, LAYOUTS.tl2.id);
    assert.equal(
      layouts.map((one) => one.layout).sort(),
      Object.values(LAYOUTS)
        .map(({ id }) => id)
        .sort(),
    );
  }
  assert.equal(found.trials.map(({ name }) => name).slice(0, 2), ['default', 'tuned']);
  const { manifest } = await compile(source, { out: options.out, tuned: [found], threads: 1 });
  assert.is(manifest.targets[native.target.id].layout, LAYOUTS.tl2.id);
  assert.equal(
    readdirSync(options.out).filter((name) => name.startsWith('.')),
    [],
  );

  const slower = madeUpRuntime(bench, favoursTl2, (artifact) => (artifact.includes('.tuning-') ? 1.1 : 1));
  writeFileSync(statePath(file), 'broken');
  const notices: string[] = [];
  const again = await tuneModel(source, slower, {
    ...options,
    onProgress: ({ stage, message }) => stage === 'notice' && notices.push(message),
  });
  assert.match(notices.join(), /damaged: tuning begins anew/);
  assert.is(again.tuned.choice, 'default');
  const plain = await compile(source, { out: options.out, tuned: [again.tuned], threads: 1 });
  assert.is(plain.manifest.targets[native.target.id].layout, LAYOUTS.i2.id);
});

tuned('a kernel that computes wrong is left out, and said', async () => {
  const bench = new KernelBench(1);
  const runtime = madeUpRuntime(
    bench,
    () => 1000,
    () => 1,
  );
  const wrong: typeof runtime = {
    ...runtime,
    workbench: async () => ({
      ...(await runtime.workbench(1)),
      run: async (name, ...rest) => {
        const y = await bench.run(name, ...rest);
        if (name.includes('tl1')) y[y.length - 1]! += 1;
        return y;
      },
    }),
  };
  const notices: string[] = [];
  const { tuned: found } = await tuneModel(source, wrong, {
    threads: 1,
    minutes: 100,
    keep: 0,
    file: join(folder, 'wrong', 'tuned.json'),
    out: join(folder, 'wrong', 'artifacts'),
    onProgress: ({ stage, message }) => stage === 'notice' && notices.push(message),
  });
  assert.ok(notices.length > 0 && notices.every((notice) => /tl1_.*computes wrong here/.test(notice)));
  assert.ok(found.shapes.every(({ layouts }) => layouts.every(({ layout }) => layout !== LAYOUTS.tl1.id)));
  assert.not.ok(runtime.timed.some((name) => name.includes('tl1')));
});

tuned('time that is up before anything was measured leaves the default', async () => {
  const runtime = madeUpRuntime(
    new KernelBench(1),
    () => 1,
    () => 1,
  );
  const file = join(folder, 'short', 'tuned.json');
  const { tuned: found } = await tuneModel(source, runtime, { threads: 1, minutes: 1e-9, file });
  assert.equal([found.shapes, found.choice, found.complete], [[], 'default', false]);
  assert.match(readFileSync(statePath(file), 'utf8'), /"groups":\{\}/);
});

tuned.run();
