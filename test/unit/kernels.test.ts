import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { families, LAYOUTS, layoutOf, SKIPPING } from '../../compiler/kernels/index.ts';
import { formatName } from '../../compiler/kernels/name.ts';
import { FEW_TOKENS, type KernelFamily, UnsupportedSpecError } from '../../compiler/kernels/spec.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { distinctKernels, selectKernels } from '../../compiler/passes/select-kernels.ts';
import { type Target, targets } from '../../targets/index.ts';
import { isSupported, specOf } from '../support/kernel-library.ts';
import { sketch } from '../support/model-ir.ts';

const kernels = suite('kernels');
const narrow: Target = { ...targets[0], sumBits: 16 };

const isSkipping = ({ layout }: KernelFamily) => Object.values(SKIPPING).some(({ id }) => id === layout);

for (const family of families) {
  for (const target of targets) {
    kernels(`${family.id} on ${target.id}: the default tile of any shape is supported`, () => {
      for (const m of [16, 48, 2560]) {
        for (const k of [1, 16, 100, 250, 2560, 6912, 23040])
          family.check({ m, k }, family.defaultTile({ m, k }, target), target);
      }
    });
  }

  kernels(`${family.id}: what it cannot compute exactly is refused before it is rendered`, () => {
    const shape = { m: 192, k: 384 };
    const tile = family.defaultTile(shape, targets[0]);
    const refused = (other: Partial<typeof tile>, target = targets[0], at = shape) => {
      try {
        family.check(at, { ...tile, ...other }, target);
      } catch (error) {
        return assert.instance(error, UnsupportedSpecError);
      }
      assert.unreachable(JSON.stringify({ at, ...other }));
    };
    for (const rows of [0, 8, 24, -16]) refused({ rows });
    for (const columns of [0, 8, 100]) refused({ columns });
    refused({ tokens: 0 });
    refused({}, targets[0], { m: 60, k: 384 });
    refused({}, targets[0], { m: 192, k: 2 ** 24 });
    if (isSkipping(family) && family.takes === 'one') {
      // Its tile is what it is.
      for (const other of [{ rows: 32 }, { columns: 256 }, { tokens: 2 }, { held: 16 }]) refused(other);
      return;
    }
    const accepted = (columns: number, target: Target) =>
      assert.ok(isSupported(family, specOf(family, shape, target, { ...tile, columns }), target), String(columns));
    if (tile.held === undefined) {
      // 2 * 2 * 128 a column quad: 63 quads are the most that fit an int16.
      accepted(240, narrow);
      refused({ columns: 256 }, narrow);
    } else {
      // 128 a column: 255 are the most that fit, in whole blocks.
      accepted(192, targets[0]);
      for (const columns of [256, 288]) refused({ columns });
      for (const held of [0, 8, 24, 144]) refused({ rows: 192 * held, held });
      refused({ rows: 64, held: 48 });
      refused({ tokens: 2 });
    }
  });

  kernels(`${family.id}: scratch covers the tile`, () => {
    const tile = { rows: 32, columns: 192, tokens: 4 };
    const bytes = family.scratchBytes({ m: 64, k: 250 }, tile);
    const { columns } = layoutOf(family.layout);
    const padded = Math.ceil(250 / columns) * columns;
    // Panels of two tiles where four row groups share bytes.
    const panels = family.layout === SKIPPING.columns.id ? 2 : 1;
    if (family.takes === 'many') assert.is(bytes, panels * 32 * Math.max(padded, 256));
    // Of each token, activations and a list of 64 rows; sums of 256 rows and a list of 256 columns. A list has room for 16 more.
    else if (isSkipping(family)) {
      assert.is(bytes, columns === 256 ? FEW_TOKENS * 256 + 4 * (64 + 16) : 4 * (FEW_TOKENS * 256 + 256 + 16));
    } else if (family.id === 'bitlinear_i2_gemv') assert.is(bytes, 0);
    // 32 bytes a table, twice as many where it holds the negative sums, and an int32 for each row.
    else assert.is(bytes, family.layout === LAYOUTS.tl1.id ? (padded / 2) * 32 + 4 * 32 : (padded / 3) * 64 + 4 * 32);
  });
}

kernels('ids of families are distinct', () => {
  assert.is(new Set(families.map(({ id }) => id)).size, families.length);
});

kernels('each matrix gets a kernel for one token and one for many, named for its shape', () => {
  const plan = planModel(sketch({ embedding: 100, ffn: 90 }));
  for (const target of targets) {
    const choices = selectKernels(plan, target);
    assert.equal(
      choices.map(({ use }) => use),
      ['qkv', 'attn_output', 'gate', 'up', 'down'],
    );
    for (const { gemv, gemm } of choices) {
      assert.is(families.find(({ id }) => id === gemv.family)!.takes, 'one');
      assert.is(families.find(({ id }) => id === gemm.family)!.takes, 'many');
      for (const spec of [gemv, gemm]) assert.is(spec.name, formatName({ ...spec, target: target.id }));
    }
  }
});

kernels('matrices of one shape share their kernels', () => {
  const plan = planModel(sketch({ embedding: 64, heads: 4, kvHeads: 4, headDim: 16, ffn: 64 }));
  const choices = selectKernels(plan, targets[0]);
  const { gemv } = choices.find(({ use }) => use === 'attn_output')!;
  assert.is(choices.find(({ use }) => use === 'gate')!.gemv.name, gemv.name);
  const names = distinctKernels(choices).map(({ name }) => name);
  assert.is(new Set(names).size, names.length);
  assert.is(names.length, 8);
});

kernels('a model whose shape no kernel takes is refused, not computed wrong', () => {
  const plan = planModel(sketch());
  const layer = plan.layer.map((step) => (step.op === 'bitlinear' ? { ...step, k: 2 ** 20 } : step));
  assert.throws(
    () => selectKernels({ ...plan, layer }, targets[0]),
    (error: unknown) => error instanceof UnsupportedSpecError,
  );
  const repacked = plan.layer.map((step) => (step.op === 'bitlinear' ? { ...step, layout: 'another' } : step));
  assert.throws(() => selectKernels({ ...plan, layer: repacked }, targets[0]), /no kernel family reads layout another/);
});

kernels.run();
