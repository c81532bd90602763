import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { tunePage } from '../../bench/report/tune-page.ts';
import { readTuned, tunedSections, writeTuned } from '../../compiler/index.ts';
import { formatKernelConfig, parseKernelConfig } from '../../compiler/kernels/config.ts';
import { families, LAYOUTS } from '../../compiler/kernels/index.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { candidatesFor, shapesOf } from '../../compiler/tune/candidates.ts';
import { chooseForShape, isFaster } from '../../compiler/tune/choose.ts';
import { costOf } from '../../compiler/tune/cost-model.ts';
import { type Contestant, eliminate } from '../../compiler/tune/eliminate.ts';
import { parseCacheSize } from '../../compiler/tune/machine.ts';
import { readState, statePath, writeState } from '../../compiler/tune/state.ts';
import { staleReasons } from '../../compiler/tune/tuned-file.ts';
import { targets } from '../../targets/index.ts';
import { specOf } from '../support/kernel-library.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { madeUpTuning } from '../support/tuning.ts';

const tuning = suite('tuning');
const folder = temporaryFolder('tune');
const vnni = targets.find(({ id }) => id === 'x86-avx512vnni')!;
// Whose activation makes no zeros: all its matrices are read whole.
const ir = sketch({ architecture: 'bitnet', embedding: 320, ffn: 640, heads: 4, kvHeads: 2, headDim: 80 });
const shapes = shapesOf(planModel(ir));
/** Not those of matrices that are read in part, which have one tile. */
const tunable = families.filter(({ layout }) => Object.values(LAYOUTS).some(({ id }) => id === layout));

for (const family of tunable) {
  for (const target of targets) {
    tuning(`${family.id} on ${target.id}: there are tiles to try, each once, and some can be exact`, () => {
      for (const shape of [...shapes, { m: 16, k: 100 }, { m: 2560, k: 6912 }]) {
        const tiles = family.tiles(shape, target).map((tile) => specOf(family, shape, target, tile));
        assert.is(new Set(tiles.map(({ name }) => name)).size, tiles.length);
        assert.ok(
          tiles.some((spec) => {
            try {
              family.check(shape, spec.tile, target);
              return true;
            } catch {
              return false;
            }
          }),
        );
      }
    });
  }
}

tuning('candidates are the default of each family and the cheapest others, all of them exact', () => {
  for (const target of targets) {
    for (const takes of ['one', 'many'] as const) {
      for (const shape of shapes) {
        const candidates = candidatesFor(shape, takes, target, { keep: 3 });
        assert.is(new Set(candidates.map(({ spec }) => spec.name)).size, candidates.length);
        for (const family of tunable.filter((one) => one.takes === takes)) {
          const own = candidates.filter(({ spec }) => spec.family === family.id);
          assert.ok(own.length >= 1 && own.length <= 4);
          assert.equal(own.filter(({ isDefault }) => isDefault).length, 1);
          const costs = own.slice(1).map(({ cost }) => cost.cycles);
          assert.equal(
            costs,
            costs.toSorted((a, b) => a - b),
          );
          for (const { spec } of own) family.check(shape, spec.tile, target);
        }
      }
    }
  }
});

tuning('a look-up tile suits every projection of a fused matrix, so that an .ini can say it', () => {
  const qkv = shapes.find(({ uses }) => uses.includes('qkv'))!;
  assert.equal([...qkv.parts].sort(), [160, 320]);
  for (const { spec } of candidatesFor(qkv, 'one', vnni, { keep: 1000 })) {
    if (spec.tile.held !== undefined) assert.is(160 % spec.tile.rows, 0, spec.name);
  }
});

tuning('the cost model: spilling, narrow tiles and panels beyond the caches cost more', () => {
  const family = families.find(({ id }) => id === 'bitlinear_i2_gemm')!;
  const shape = { m: 2560, k: 2560 };
  const caches = [48 << 10, 2 << 20];
  const cost = (rows: number, tokens: number, of = caches) =>
    costOf(family, specOf(family, shape, vnni, { rows, columns: 2560, tokens }), vnni, 128, of);
  assert.is(cost(32, 12).registers, 28);
  assert.ok(cost(32, 12).cycles < cost(16, 4).cycles);
  assert.ok(cost(32, 12).cycles < cost(64, 24).cycles);
  assert.ok(cost(96, 1, [1 << 10, 2 << 10]).cycles > cost(96, 1).cycles);
  assert.is(cost(32, 12).footprint, 32 * 2560);
  assert.is(cost(32, 12).macs, 2560 * 2560 * 128);
  assert.is(cost(32, 12).bytes, (2560 * 2560) / 4);
});

/** A contest with made-up times: each takes its own, and all are disturbed alike. */
async function contest(times: Record<string, number>, rules: Partial<Parameters<typeof eliminate>[2]> = {}) {
  const contestants = Object.keys(times).map(
    (name): Contestant => ({ name, league: name.split(' ')[0]!, samples: [], out: false }),
  );
  const order: string[] = [];
  let clock = 0;
  const time = async ({ name, samples }: Contestant) => {
    order.push(name);
    clock += 1;
    return times[name]! * (1 + 0.5 * ((samples.length * 7) % 3));
  };
  await eliminate(contestants, time, { isOver: () => false, ...rules });
  return { contestants, order, clock };
}

tuning('elimination keeps the fastest of each league, though all are disturbed', async () => {
  const { contestants } = await contest({ 'a 1': 100, 'a 2': 103, 'a 3': 200, 'b 1': 400, 'b 2': 300 });
  assert.equal(
    contestants.filter(({ out }) => !out).map(({ name }) => name),
    ['a 1', 'b 2'],
  );
  const rounds = Object.fromEntries(contestants.map(({ name, samples }) => [name, samples.length]));
  assert.is(rounds['a 3'], 2, 'hopeless after two rounds');
  assert.ok(rounds['a 2']! >= 4 && rounds['a 1']! >= 8);
});

tuning('those that cannot be told apart stay, and the contest ends', async () => {
  const { contestants } = await contest({ 'a 1': 100, 'a 2': 100 }, { most: 10 });
  assert.ok(contestants.every(({ out, samples }) => !out && samples.length === 10));
});

tuning('a contest takes turns, stops when time is up, and goes on where it stopped', async () => {
  let left = 5;
  const { contestants, order } = await contest({ 'a 1': 1, 'a 2': 1, 'a 3': 1 }, { isOver: () => left-- <= 0 });
  assert.equal(order, ['a 1', 'a 2', 'a 3', 'a 2', 'a 3']);
  const timed: string[] = [];
  await eliminate(
    contestants,
    async ({ name }) => {
      timed.push(name);
      return 1;
    },
    { isOver: () => false, most: 3 },
  );
  assert.equal(timed.slice(0, 1), ['a 1']);
  assert.ok(contestants.every(({ samples }) => samples.length === 3));
});

tuning('another kernel or layout is chosen only where it is clearly faster', () => {
  const [shape] = shapes;
  const tried = (takes: 'one' | 'many', speed: (layout: string, isDefault: boolean) => number) =>
    candidatesFor(shape!, takes, vnni, { keep: 1 }).map((candidate) => ({
      candidate,
      contestant: {
        name: candidate.spec.name,
        league: candidate.layout,
        samples: [1, 1.02, 0.99, 1, 1.01, 0.98].map((noise) => noise * speed(candidate.layout, candidate.isDefault)),
        out: false,
      },
    }));
  const choose = (speed: (layout: string, isDefault: boolean) => number) =>
    chooseForShape(shape!, { one: tried('one', speed), many: tried('many', speed) }, LAYOUTS.i2.id)!;
  const same = choose(() => 1000);
  assert.is(same.layout, LAYOUTS.i2.id);
  for (const { kernels } of same.layouts) assert.match(kernels.one.reason, 'the default tile');
  const tile = choose((_, isDefault) => (isDefault ? 1000 : 800));
  for (const { kernels } of tile.layouts) assert.is(kernels.one.reason, 'tuned: 1.25 times the default tile');
  const layout = choose((id) => (id === LAYOUTS.tl2.id ? 500 : 1000));
  assert.is(layout.layout, LAYOUTS.tl2.id);
  assert.match(layout.reason, /^tuned: 2\.00 times as fast as i2_r16c16/);
  assert.is(chooseForShape(shape!, { one: [], many: [] }, LAYOUTS.i2.id), undefined);
});

tuning('a whole model that is tuned must be no slower; a setting must be clearly faster', () => {
  const samples = (factor: number) => ({ prefill: [1, 1.1, 0.9, 1].map((x) => x * factor), perToken: [0, 0, 0, 0] });
  assert.ok(isFaster(samples(1), samples(1), false));
  assert.not.ok(isFaster(samples(1.01), samples(1), false));
  assert.not.ok(isFaster(samples(1), samples(1), true));
  assert.ok(isFaster(samples(0.9), samples(1), true));
});

const tuned = madeUpTuning(
  ir,
  vnni,
  Object.values(LAYOUTS).map(({ id }) => id),
  'g++ 1',
);

tuning('a tuned file is written and read; anything else is refused with its place', async () => {
  const file = join(folder, 'tuned.json');
  await writeTuned(file, tuned);
  assert.equal(await readTuned(file), JSON.parse(JSON.stringify(tuned)));
  for (const [content, message] of [
    ['{', /is no JSON/],
    ['{}', /no tuned file/],
    [JSON.stringify({ ...tuned, threads: -1 }), /no tuned file: threads/],
    [JSON.stringify({ ...tuned, format: 2 }), /no tuned file: format/],
  ] as const) {
    writeFileSync(file, content);
    assert.match((await refusal(() => readTuned(file))).message, message);
  }
  assert.match((await refusal(() => readTuned(join(folder, 'none.json')))).message, /cannot read .*none\.json/);
});

tuning('it is stale on another CPU, with other caches, compiler, version, threads or target', () => {
  const { machine, target, threads, compiler, version } = tuned;
  const key = { machine, target, threads, compiler, version };
  assert.equal(staleReasons(tuned, key), []);
  assert.equal(staleReasons(tuned, { ...key, threads: undefined, compiler: undefined }), []);
  for (const [other, reason] of [
    [{ machine: { ...machine, cpu: 'Z80' } }, /^the CPU was .* and is Z80$/],
    [{ machine: { ...machine, caches: [1, 2] } }, /^its caches was .* and is 1, 2$/],
    [{ threads: 7 }, /^the number of threads was 1 and is 7$/],
    [{ compiler: 'clang' }, /^the C\+\+ compiler was g\+\+ 1 and is clang$/],
    [{ version: '9' }, /^the version/],
    [{ target: 'ref' }, /^the target was x86-avx512vnni and is ref$/],
  ] as const) {
    const reasons = staleReasons(tuned, { ...key, ...other });
    assert.is(reasons.length, 1);
    assert.match(reasons[0]!, reason);
  }
});

tuning('layouts are those of the best target, tiles each target has its own', () => {
  const [first, second] = [targets.find(({ id }) => id === 'x86-avx2')!, vnni];
  const files = [
    madeUpTuning(ir, first, [LAYOUTS.tl1.id], 'g++ 1'),
    madeUpTuning(ir, second, [LAYOUTS.tl2.id, LAYOUTS.i2.id], 'g++ 1'),
  ];
  const plan = planModel(ir, { tuned: files });
  assert.is(plan.weights.layout, `${LAYOUTS.tl2.id}+${LAYOUTS.i2.id}`);
  for (const [index, target] of [first, second].entries()) {
    for (const { gemv, gemm } of selectKernels(plan, target, files)) {
      const shape = files[index]!.shapes.find(({ m, k }) => m === gemv.m && k === gemv.k)!;
      const layout = families.find(({ id }) => id === gemv.family)!.layout;
      const { kernels } = shape.layouts.find((one) => one.layout === layout)!;
      assert.equal([gemv.tile, gemm.tile], [kernels.one.tile, kernels.many.tile]);
      assert.is(gemv.reason, 'tuned: made up');
    }
  }
  const other = selectKernels(plan, targets[0]!, files);
  for (const { gemm } of other) {
    const family = families.find(({ id }) => id === gemm.family)!;
    assert.equal(gemm.tile, family.defaultTile(gemm, targets[0]!));
  }
  assert.is.not(plan.weights.layout, planModel(ir).weights.layout);
});

tuning('a tile that cannot be exact is refused, not computed', () => {
  const broken = structuredClone(tuned);
  for (const { layouts } of broken.shapes) for (const { kernels } of layouts) kernels.many.tile.rows = 24;
  assert.throws(() => selectKernels(planModel(ir, { tuned: [broken] }), vnni, [broken]), /multiple of 16/);
});

tuning('the best tiles become an .ini that can be read', () => {
  const sections = tunedSections(tuned);
  const read = parseKernelConfig(formatKernelConfig(sections), 'x.ini').sections;
  assert.equal(read.map(({ m, k }) => `${m} ${k}`).sort(), ['160 320', '320 320', '320 640', '640 320']);
  assert.throws(() => tunedSections({ ...tuned, shapes: [] }), /no kernel of table look-ups/);
});

tuning('what is measured is kept; what is damaged or of another machine is not', async () => {
  const file = join(folder, 'kept.json');
  const problems: string[] = [];
  const read = (key: string) => readState(file, key, (problem) => problems.push(problem));
  assert.is(await read('a'), undefined);
  const state = { format: 1, key: 'a', groups: { g: { k: { samples: [1, 2], out: false, checked: true } } } } as const;
  await writeState(file, structuredClone(state) as never);
  assert.equal(await read('a'), state);
  assert.is(await read('b'), undefined);
  writeFileSync(statePath(file), '{"format":1,');
  assert.is(await read('a'), undefined);
  assert.is(problems.length, 2);
  assert.match(problems[0]!, /another machine/);
  assert.match(problems[1]!, /damaged/);
});

tuning('cache sizes are read as Linux writes them', () => {
  assert.equal(['48K', '2M\n', '1G', '512', 'many'].map(parseCacheSize), [49152, 2 << 20, 2 ** 30, 512, 0]);
});

tuning('the page holds each shape, the winner, and nothing that is not well-formed', () => {
  const html = tunePage({ ...tuned, model: '<b>&' });
  assert.match(html, '&lt;b&gt;&amp;');
  const stack: string[] = [];
  for (const [, close, name, empty] of html.matchAll(/<(\/?)([a-z][a-z0-9]*)\b[^<>]*?(\/?)>/gi)) {
    if (close) assert.is(stack.pop(), name);
    else if (!empty) stack.push(name!);
  }
  assert.equal(stack, []);
  for (const { m, k } of tuned.shapes) assert.match(html, `${m} × ${k}`);
  assert.ok(html.split('class="fill winner"').length > 2 * tuned.shapes.length);
  assert.not.match(html, /NaN|undefined|Infinity/);
  tunePage({ ...tuned, shapes: [], trials: [], complete: false });
});

tuning.run();
