import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { parseKernelConfig } from '../../compiler/kernels/config.ts';
import { families } from '../../compiler/kernels/index.ts';
import type { KernelFamily, KernelSpec } from '../../compiler/kernels/spec.ts';
import { packageRoot } from '../../package-root.ts';
import type { Target } from '../../targets/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { expectedY, type KernelCase, randomCase, runCase } from '../support/kernel-case.ts';
import { buildKernels, specOf } from '../support/kernel-library.ts';
import { temporaryFolder } from '../support/temporary.ts';

const PRESETS = join(packageRoot(), 'test', 'fixtures', 'kernel-configs');

/** One section of a preset, as a kernel of as many rows as it takes for a whole tile and a part of one. */
interface Configured {
  readonly title: string;
  readonly family: KernelFamily;
  readonly spec: (target: Target) => KernelSpec;
}

const configured = readdirSync(PRESETS).flatMap((preset) => {
  const family = families.find(({ id }) => id === `bitlinear_${preset.split('.').at(-2)}_gemv`)!;
  const { sections } = parseKernelConfig(readFileSync(join(PRESETS, preset), 'utf8'), preset);
  return sections.map(({ name, k, BM, BK, bm }): Configured => {
    const tile = { rows: BM, columns: BK, held: bm, tokens: 1 };
    return { title: `${preset} [${name}]`, family, spec: (target) => specOf(family, { m: BM + bm, k }, target, tile) };
  });
});

const { beds, absent } = await testBeds();
const kernels = suite('kernels as configured');
const folder = temporaryFolder('configured');

/** The same weights and activations for all targets, extreme in the first two row groups. */
const cases = new Map<string, { one: KernelCase; expected: Float32Array }>();
function caseOf(spec: KernelSpec) {
  const shape = `${spec.m} ${spec.k}`;
  let found = cases.get(shape);
  if (!found) {
    const one = randomCase(spec, 1, new Random(spec.m + spec.k));
    one.codes.fill(0, 0, 16 * spec.k).fill(2, 16 * spec.k, 32 * spec.k);
    one.q.fill(-128, 0, spec.k >> 1);
    found = { one, expected: expectedY(spec, one) };
    cases.set(shape, found);
  }
  return found;
}

for (const bed of beds) {
  const specs = [...new Map(configured.map(({ spec }) => [spec(bed.target).name, spec(bed.target)])).values()];
  let library: Promise<string> | undefined;
  for (const { title, family, spec } of configured) {
    kernels(`${title} on ${bed.target.id}`, async () => {
      library ??= buildKernels(bed, specs, join(folder, bed.target.id));
      const one = spec(bed.target);
      const { one: input, expected } = caseOf(one);
      const { outcome, y } = await runCase(bed, await library, one, family.layout, input, join(folder, one.name));
      assert.is(outcome.code, 0, outcome.stderr);
      const at = expected.findIndex((value, i) => value !== y[i]);
      assert.is(at, -1, `row ${at} is ${y[at]}, not ${expected[at]}`);
    });
  }
}
for (const { target, reason } of absent) skip(kernels, `kernels as configured on ${target.id}`, reason);

kernels('every preset is tried', () => assert.is(configured.length, 20));

kernels.run();
