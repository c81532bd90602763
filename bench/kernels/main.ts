// Times the kernels of every family for a model's matrices, on each target that this machine runs, beside what the machine
// can do:
//   npm run bench:kernels [-- --shape 2b4t] [--target ID] [--kernel i2,tl2] [--threads 1]
//                          [--out FILE]: the figures as JSON, too

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import benny from 'benny';
import Table from 'cli-table3';
import { probeMachine, WASM } from '../../artifact/machine.ts';
import { families, LAYOUTS } from '../../compiler/kernels/index.ts';
import type { KernelSpec } from '../../compiler/kernels/spec.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { weightBytesOf } from '../../compiler/render/views.ts';
import { Checker } from '../../compiler/tune/check.ts';
import { KernelBench } from '../../runtime/src/kernel-bench.ts';
import { median } from '../../statistics.ts';
import type { Target } from '../../targets/index.ts';
import { type Bed, testBeds } from '../../test/support/beds.ts';
import { buildKernels, familyOf, specOf } from '../../test/support/kernel-library.ts';
import { sketch } from '../../test/support/model-ir.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';
import { shapeByName } from '../shapes/index.ts';

/** Tokens of a GEMM: a prefill step. */
const MANY = 128;
/** What one sample of benny's should take, long against asking for it. */
const SAMPLE_NS = 10e6;

interface Row {
  readonly spec: KernelSpec;
  readonly tokens: number;
  /** Of one call, in each sample. */
  readonly nanoseconds: number[];
}

/** What a kernel reached, in units of 10^9. */
interface Figures {
  readonly kernel: string;
  readonly tokens: number;
  readonly microseconds: number;
  /** Of weights. */
  readonly readGBps: number;
  readonly int8GMACps: number;
  /** What holds one token back is reading, what holds many back is arithmetic: the share of that limit. */
  readonly bound: 'reading' | 'arithmetic';
  readonly share: number;
}

/** One target's kernels, beside what as many threads do at best. */
interface TargetFigures {
  readonly target: string;
  readonly compiler: string;
  readonly machine: { readonly readGBps: number; readonly int8GMACps: number };
  readonly kernels: readonly Figures[];
}

async function timeTarget(bed: Bed, specs: readonly KernelSpec[], folder: string): Promise<TargetFigures> {
  await bench.open(await buildKernels(bed, specs, join(folder, bed.target.id)));
  const checkers = new Map(specs.map(({ m, k }) => [`${m} ${k}`, new Checker({ m, k })]));
  const rows: Row[] = [];
  const cases: ReturnType<typeof benny.add>[] = [];
  for (const spec of specs) {
    const { layout, takes } = familyOf(spec);
    if (!(await checkers.get(`${spec.m} ${spec.k}`)!.isExact(bench, { spec, layout, takes }))) {
      throw new Error(`${spec.name} computes wrong`);
    }
    const { name } = spec;
    const { rows: high, held = high } = spec.tile;
    const [tokens, unit] = takes === 'one' ? [1, held / 16] : [MANY, high / 16];
    const rounds = Math.max(1, Math.round(SAMPLE_NS / (await bench.time(name, tokens, unit, 1))));
    const nanoseconds: number[] = [];
    rows.push({ spec, tokens, nanoseconds });
    cases.push(
      benny.add(name, async () => {
        nanoseconds.push((await bench.time(name, tokens, unit, rounds)) / rounds);
      }),
    );
  }
  const before = await bench.limits();
  const progress = benny.cycle(({ name, margin }) => `  ${name} ±${margin}%`);
  await benny.suite(`${bed.target.id}, ${bed.compiler.version}, ${bench.threads} threads`, ...cases, progress);
  const after = await bench.limits();
  const machine = {
    readGBps: Math.max(before.readBytesPerSecond, after.readBytesPerSecond) / 1e9,
    int8GMACps: Math.max(before.int8MacsPerSecond, after.int8MacsPerSecond) / 1e9,
  };
  const kernels = rows.map((row) => figuresOf(row, machine));
  print(kernels, machine);
  return { target: bed.target.id, compiler: bed.compiler.version, machine, kernels };
}

function figuresOf({ spec, tokens, nanoseconds }: Row, machine: TargetFigures['machine']): Figures {
  const time = median(nanoseconds);
  const readGBps = weightBytesOf(spec) / time;
  const int8GMACps = (spec.m * spec.k * tokens) / time;
  const figures = { kernel: spec.name, tokens, microseconds: time / 1000, readGBps, int8GMACps };
  return tokens === 1
    ? { ...figures, bound: 'reading', share: readGBps / machine.readGBps }
    : { ...figures, bound: 'arithmetic', share: int8GMACps / machine.int8GMACps };
}

function print(kernels: readonly Figures[], { readGBps: read, int8GMACps: dot }: TargetFigures['machine']): void {
  const table = new Table({
    head: ['kernel', 'tokens', 'µs', 'GB/s', 'GMAC/s', 'of the limit'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { kernel, tokens, microseconds, readGBps, int8GMACps, bound, share } of kernels) {
    const speeds = [microseconds.toFixed(1), readGBps.toFixed(2), int8GMACps.toFixed(1)];
    table.push([kernel, tokens, ...speeds, `${(100 * share).toFixed(0)}% of ${bound}`]);
  }
  console.log(table.toString());
  const limits = `reading ${read.toFixed(2)} GB/s, int8 arithmetic ${dot.toFixed(0)} GMAC/s`;
  console.log(`limits of ${bench.threads} threads, measured now: ${limits}\n`);
}

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2b4t' },
    target: { type: 'string' },
    kernel: { type: 'string', default: 'i2,tl1,tl2' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string' },
  },
});
const kinds = values.kernel.split(',');
const unknown = kinds.find((kind) => !(kind in LAYOUTS));
if (unknown !== undefined)
  throw new Error(`there is no kernel '${unknown}'; there are ${Object.keys(LAYOUTS).join(', ')}`);

/** Each matrix by each family of the kinds asked for, with the family's own tile. */
function specsFor(target: Target): KernelSpec[] {
  const chosen = families.filter(({ layout }) => kinds.some((kind) => layout.startsWith(`${kind}_`)));
  const specs = plan.layer
    .filter((step) => step.op === 'bitlinear')
    .flatMap(({ m, k }) => chosen.map((family) => specOf(family, { m, k }, target)));
  return [...new Map(specs.map((spec) => [spec.name, spec])).values()];
}

const plan = planModel(sketch({ ...shapeByName(values.shape), layers: 1 }));
const folder = temporaryFolder('bench');
const bench = new KernelBench(Number(values.threads));
const { beds } = await testBeds();
// An emulator's speed says nothing, and native code cannot call WebAssembly.
const native = beds.filter(
  ({ target, emulator }) => emulator.length === 0 && target.arch !== WASM && (values.target ?? target.id) === target.id,
);
if (native.length === 0) console.log(`this machine runs no target '${values.target}'`);
const results: TargetFigures[] = [];
for (const bed of native) results.push(await timeTarget(bed, specsFor(bed.target), folder));
if (values.out !== undefined) {
  const [date] = new Date().toISOString().split('T');
  const report = {
    format: 1,
    date,
    cpu: probeMachine().cpu,
    shape: values.shape,
    threads: bench.threads,
    targets: results,
  };
  await writeFile(values.out, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`wrote ${values.out}`);
}
