// Times the kernels of every family for a model's matrices, on each target that this machine runs, beside what the machine
// can do:
//   npm run bench:kernels [-- --shape 2b4t] [--target ID] [--kernel i2,tl2] [--threads 1]
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import benny from 'benny';
import Table from 'cli-table3';
import { families, LAYOUTS } from '../../compiler/kernels/index.ts';
import type { KernelSpec } from '../../compiler/kernels/spec.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { groupBytesOf } from '../../compiler/render/views.ts';
import { Checker } from '../../compiler/tune/check.ts';
import { KernelBench } from '../../runtime/src/kernel-bench.ts';
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

async function timeTarget(bed: Bed, specs: readonly KernelSpec[], folder: string): Promise<void> {
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
  report(
    rows,
    Math.max(before.readBytesPerSecond, after.readBytesPerSecond),
    Math.max(before.int8MacsPerSecond, after.int8MacsPerSecond),
  );
}

function report(rows: readonly Row[], readLimit: number, dotLimit: number): void {
  const table = new Table({
    head: ['kernel', 'tokens', 'µs', 'GB/s', 'GMAC/s', 'of the limit'],
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  for (const { spec, tokens, nanoseconds } of rows) {
    const median = nanoseconds.toSorted((a, b) => a - b)[nanoseconds.length >> 1];
    const weights = ((spec.m / 16) * groupBytesOf(spec)) / median;
    const macs = (spec.m * spec.k * tokens) / median;
    const [share, of] =
      tokens === 1 ? [(weights * 1e9) / readLimit, 'reading'] : [(macs * 1e9) / dotLimit, 'arithmetic'];
    table.push([
      spec.name,
      tokens,
      (median / 1000).toFixed(1),
      weights.toFixed(2),
      macs.toFixed(1),
      `${(100 * share).toFixed(0)}% of ${of}`,
    ]);
  }
  console.log(table.toString());
  const [read, dot] = [(readLimit / 1e9).toFixed(2), (dotLimit / 1e9).toFixed(0)];
  console.log(
    `limits of ${bench.threads} threads, measured now: reading ${read} GB/s, int8 arithmetic ${dot} GMAC/s\n`,
  );
}

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2b4t' },
    target: { type: 'string' },
    kernel: { type: 'string', default: 'i2,tl1,tl2' },
    threads: { type: 'string', default: '1' },
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
// An emulator's speed says nothing.
const native = beds.filter(
  ({ target, emulator }) => emulator.length === 0 && (values.target ?? target.id) === target.id,
);
if (native.length === 0) console.log(`this machine runs no target '${values.target}'`);
for (const bed of native) await timeTarget(bed, specsFor(bed.target), folder);
