import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { families } from '../../compiler/kernels/index.ts';
import { formatName, type KernelName, parseName } from '../../compiler/kernels/name.ts';
import { targets } from '../../targets/index.ts';
import { refusal } from '../support/refusal.ts';

const ids = targets.map(({ id }) => id);

test('a name says the maths, then the machine', () => {
  const name: KernelName = {
    family: 'bitlinear_i2_gemm',
    m: 2560,
    k: 6912,
    tile: { rows: 32, columns: 6912, tokens: 12 },
    target: 'x86-avx512vnni',
  };
  assert.is(formatName(name), 'bn_bitlinear_i2_gemm_m2560k6912_t32x6912x12__x86_avx512vnni');
  const lookUp = { ...name, family: 'bitlinear_tl2_gemv', tile: { rows: 256, columns: 96, held: 32, tokens: 1 } };
  assert.is(formatName(lookUp), 'bn_bitlinear_tl2_gemv_m2560k6912_t256x96x32x1__x86_avx512vnni');
});

test('parseName reads what formatName writes', () => {
  const size = fc.integer({ min: 1, max: 2 ** 31 });
  const name = fc.record({
    family: fc.oneof(fc.constantFrom(...families.map(({ id }) => id)), fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/)),
    m: size,
    k: size,
    tile: fc.record(
      { rows: size, columns: size, held: size, tokens: size },
      { requiredKeys: ['rows', 'columns', 'tokens'] },
    ),
    target: fc.constantFrom(...ids),
  });
  // Objects of fast-check have no prototype; a spread gives them one.
  fc.assert(
    fc.property(name, ({ tile, ...rest }) => {
      assert.equal(parseName(formatName({ ...rest, tile }), ids), { ...rest, tile: { ...tile } });
    }),
  );
});

test('a name is a C identifier', () => {
  for (const target of ids) {
    const text = formatName({
      family: families[0].id,
      m: 16,
      k: 16,
      tile: { rows: 16, columns: 16, tokens: 1 },
      target,
    });
    assert.match(text, /^[a-z_][a-z0-9_]*$/);
  }
});

test('no two targets have the same name in C', () => {
  assert.is(new Set(ids.map((id) => id.replaceAll('-', '_'))).size, ids.length);
});

test('other texts are refused', async () => {
  const good = 'bn_bitlinear_i2_gemv_m16k16_t16x16x1__ref';
  assert.is(parseName(good, ids).target, 'ref');
  const bad = [
    '',
    'bn_',
    good.slice(1),
    `${good}2`,
    `${good} `,
    good.replace('m16', 'm'),
    good.replace('__ref', ''),
    good.replace('t16', 't16x16x16'),
  ];
  for (const text of [...bad, good.replace('x1_', 'x-1_'), good.replace('ref', 'pdp11')]) {
    assert.match((await refusal(() => parseName(text, ids))).message, /is not the name of a kernel/, text);
  }
});

test.run();
