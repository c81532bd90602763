import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { families } from '../../compiler/kernels/index.ts';
import { parseName } from '../../compiler/kernels/name.ts';
import { FEW_TOKENS, type KernelFamily, type KernelShape, type KernelSpec } from '../../compiler/kernels/spec.ts';
import { type Target, targets } from '../../targets/index.ts';
import { type Bed, skip, testBeds } from '../support/beds.ts';
import { expectedY, type KernelCase, randomCase, runCase } from '../support/kernel-case.ts';
import { buildKernels, familyOf, isSupported, specOf } from '../support/kernel-library.ts';
import { runner } from '../support/runner.ts';
import { temporaryFolder } from '../support/temporary.ts';

/** Fewer rows than a tile and not quite a whole number of them; whole blocks of columns and parts, of one chunk and many. */
const SHAPES: readonly KernelShape[] = [
  { m: 16, k: 16 },
  { m: 48, k: 100 },
  { m: 336, k: 400 },
  { m: 96, k: 2570 },
];
/** A shape that other tiles than the default ones are tried on. */
const TILED: KernelShape = { m: 80, k: 400 };

function specsOf(target: Target): KernelSpec[] {
  const specs = families.flatMap((family) => {
    const tile = family.defaultTile(TILED, target);
    const tiles = [
      { ...tile, columns: 96 },
      tile.held === undefined ? { ...tile, rows: 48 } : { ...tile, rows: 64, held: 32 },
      ...(family.takes === 'many' ? [{ ...tile, rows: 16, tokens: 7 }] : []),
    ];
    return [
      ...SHAPES.map((shape) => specOf(family, shape, target)),
      ...tiles.map((tile) => specOf(family, TILED, target, tile)).filter((spec) => isSupported(family, spec, target)),
    ];
  });
  return [...new Map(specs.map((spec) => [spec.name, spec])).values()];
}

/** Row r has the r-th pattern of extreme codes, token t the t-th of extreme activations: all pairs of them meet. */
function extremeCase(spec: KernelSpec, tokens: number, first: number, random: Random): KernelCase {
  const { m, k } = spec;
  const code = [() => 2, () => 0, (i: number) => (i & 1) * 2, (i: number) => i & 2, () => 1];
  const value = [() => -128, () => 127, (i: number) => (i & 1 ? 127 : -128), (i: number) => (i & 2 ? 127 : -128)];
  return {
    ...randomCase(spec, tokens, random),
    codes: Uint8Array.from({ length: m * k }, (_, i) => code[Math.floor(i / k) % code.length](i % k)),
    q: Int8Array.from({ length: tokens * k }, (_, i) => value[(first + Math.floor(i / k)) % value.length](i % k)),
  };
}

/** Few activations that are not zero, so that columns are skipped: none at all for a share of 0. */
function sparseCase(spec: KernelSpec, share: number, random: Random, tokens = 1): KernelCase {
  const one = randomCase(spec, tokens, random);
  return { ...one, accumulate: true, q: one.q.map((value) => (random.integer(1000) < 1000 * share ? value : 0)) };
}

/** Some row groups only, with scales that make every rounding count. */
function scaledCase(spec: KernelSpec, tokens: number, accumulate: boolean, random: Random): KernelCase {
  const groups = spec.m / 16;
  const first = Math.min(1, groups - 1);
  const real = (count: number) => Float32Array.from({ length: count }, () => random.normal());
  return {
    ...randomCase(spec, tokens, random),
    accumulate,
    groups: [first, Math.max(first + 1, groups - 1)],
    groupScales: real(groups),
    inverseScales: real(tokens),
    y: real(tokens * spec.m),
  };
}

/** Together the cases of a GEMM take few tokens and many, parts of a tile, whole ones, and both. */
function casesOf(spec: KernelSpec, family: KernelFamily): KernelCase[] {
  const random = new Random(spec.m * 4096 + spec.k);
  if (family.takes === 'one') {
    return [
      { ...randomCase(spec, 1, random), accumulate: true },
      ...[0, 1, 2, 3].map((pattern) => extremeCase(spec, 1, pattern, random)),
      ...[0, 0.02, 0.3].map((share) => sparseCase(spec, share, random)),
      scaledCase(spec, 1, false, random),
      scaledCase(spec, 1, true, random),
      ...[2, 3, 7, FEW_TOKENS]
        .filter((tokens) => tokens <= (family.most ?? 1))
        .flatMap((tokens, pattern) => [
          extremeCase(spec, tokens, pattern, random),
          sparseCase(spec, 0.02, random, tokens),
          scaledCase(spec, tokens, tokens === 3, random),
        ]),
    ];
  }
  return [
    ...[1, 2, 3, 4, 6, 8, 12, 16, 27].map((tokens, i) => ({
      ...randomCase(spec, tokens, random),
      accumulate: i % 2 === 1,
    })),
    extremeCase(spec, 17, 0, random),
    scaledCase(spec, 5, false, random),
    scaledCase(spec, 13, true, random),
  ];
}

const describe = ({ tokens, accumulate, groups }: KernelCase) =>
  `${tokens} tokens, groups ${groups.join(' to ')}${accumulate ? ', added' : ''}`;

/** Bit for bit: 0 and -0 differ, and so do two NaNs. */
function firstDifference(actual: Float32Array, expected: Float32Array): number {
  const [a, b] = [actual, expected].map(({ buffer, byteOffset, length }) => new Int32Array(buffer, byteOffset, length));
  return b.findIndex((bits, i) => bits !== a[i]);
}

async function tryKernel(bed: Bed, library: string, spec: KernelSpec, folder: string): Promise<void> {
  const family = familyOf(spec);
  const attempts = casesOf(spec, family).map(async (one, index) => {
    const file = join(folder, `${spec.name}-${index}`);
    const { outcome, y } = await runCase(bed, library, spec, family.layout, one, file);
    assert.is(outcome.code, 0, `${describe(one)}: ${outcome.stderr}`);
    const expected = expectedY(spec, one);
    assert.is(y.length, expected.length);
    const at = firstDifference(y, expected);
    const where = `token ${Math.floor(at / spec.m)}, row ${at % spec.m}`;
    assert.is(at, -1, `${describe(one)}: ${where} is ${y[at]}, not ${expected[at]}`);
  });
  await Promise.all(attempts);
}

const { beds, absent } = await testBeds();
const kernels = suite('kernel conformance');
const folder = temporaryFolder('kernels');

for (const bed of beds) {
  const specs = specsOf(bed.target);
  let library: Promise<string> | undefined;
  const built = () => {
    library ??= buildKernels(bed, specs, join(folder, bed.target.id));
    return library;
  };
  kernels(`the library of ${bed.target.id} lists its kernels`, async () => {
    const { stdout, stderr } = await runner(bed, 'list', await built());
    assert.is(stderr, '');
    const listed = stdout
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(
      listed.map(({ name, m, k }) => ({ name, m, k })),
      specs.map(({ name, m, k }) => ({ name, m, k })),
    );
  });
  for (const spec of specs) kernels(spec.name, async () => tryKernel(bed, await built(), spec, folder));
}
for (const { target, reason } of absent) {
  for (const spec of specsOf(target)) skip(kernels, spec.name, reason);
}

kernels('every family and every target of the registries is tried or has a reason not to be', () => {
  const ids = targets.map(({ id }) => id);
  const tried = [...beds, ...absent].flatMap(({ target }) => specsOf(target).map(({ name }) => parseName(name, ids)));
  for (const target of ids) {
    for (const { id } of families) {
      assert.ok(tried.some((name) => name.family === id && name.target === target));
    }
  }
});

kernels.run();
