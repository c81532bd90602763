// The arithmetic that is done value by value where a model runs on WebGL, against exact numbers.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { turn } from '../../runtime/src/scalar/angles.ts';
import { exp, fma } from '../../runtime/src/scalar/float32.ts';
import { dot, quantise } from '../../runtime/src/scalar/rows.ts';

/** A float32 as an integer times 2^-149. */
function exact(value: number): bigint {
  const bits = new DataView(Float32Array.of(value).buffer).getUint32(0, true);
  const exponent = (bits >>> 23) & 255;
  const fraction = bits & 0x7fffff;
  const magnitude = exponent === 0 ? BigInt(fraction) : BigInt(fraction + 0x800000) << BigInt(exponent - 1);
  return bits >>> 31 ? -magnitude : magnitude;
}

/** An integer times 2^-298 as the nearest float32, ties to even. */
function nearest(value: bigint): number {
  const magnitude = value < 0n ? -value : value;
  // What is kept: 24 bits, or what float32 reaches down to.
  const dropped = BigInt(Math.max(149, magnitude.toString(2).length - 24));
  let kept = magnitude >> dropped;
  const rest = magnitude - (kept << dropped);
  const half = 1n << (dropped - 1n);
  if (rest > half || (rest === half && kept % 2n === 1n)) kept += 1n;
  return Number(kept) * 2 ** (Number(dropped) - 298) * (value < 0n ? -1 : 1);
}

const float = fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e15), max: Math.fround(1e15) });

test('a multiply-add rounds once', () => {
  fc.assert(
    fc.property(float, float, float, (a, b, c) => {
      assert.is(fma(a, b, c) + 0, nearest(exact(a) * exact(b) + (exact(c) << 149n)) + 0);
    }),
    { numRuns: 2000 },
  );
  // Sums that float64 puts exactly between two float32, though they are not there.
  const small = 2 ** -60;
  for (const sign of [1, -1]) {
    for (const [a, b, c] of [
      [1 + 2 ** -23, 1 + 2 ** -1, 2 ** 24 * 2 ** -1],
      [2 ** -24, 1 + 2 ** -23, 1],
      [2 ** -24, 1 - 2 ** -24, 1],
      [2 ** -24, 1, 1 + 2 ** -23],
      [small, small, 1 + 2 ** -23],
    ] as const) {
      const [x, y, z] = [Math.fround(sign * a), Math.fround(b), Math.fround(sign * c)];
      assert.is(fma(x, y, z), nearest(exact(x) * exact(y) + (exact(z) << 149n)));
    }
  }
  // Rounded to float64 first this one would be 1.
  assert.is(fma(2 ** -24, 1 + 2 ** -23, 1), 1 + 2 ** -23);
});

test('e^v, sines and cosines are within units of the last place', () => {
  for (let v = -87; v <= 88; v += 0.37) {
    const x = Math.fround(v);
    const wanted = Math.exp(x);
    assert.ok(Math.abs(exp(x) - wanted) <= 2 * 2 ** -23 * wanted, `e^${x}`);
  }
  assert.is(exp(Number.NEGATIVE_INFINITY), exp(-1000));
  for (let angle = 0; angle < 2 ** 17; angle += 97.31) {
    const [cosine, sine] = turn(angle);
    assert.ok(Math.abs(cosine - Math.cos(angle)) < 1e-14 && Math.abs(sine - Math.sin(angle)) < 1e-14, `${angle}`);
  }
});

test('sums run in sixteen lanes', () => {
  // The lanes of the large ones lose what else they have, and meet before any other: in order, five more ones would be lost.
  const values = new Float32Array(32).fill(1);
  values[0] = 2 ** 25;
  values[8] = -(2 ** 25);
  assert.is(dot(values, new Float32Array(32).fill(1), 32), 30 - 2);
});

test('values are quantised to int8, ties to even', () => {
  const random = new Random(3);
  const x = Float32Array.from({ length: 40 }, () => random.normal());
  x[0] = 127;
  x[1] = 2.5;
  x[2] = -3.5;
  const q = new Float32Array(48).fill(9);
  const { inverseScale, sum } = quantise(q, x, 40);
  assert.is(inverseScale, 1);
  assert.equal([...q.subarray(0, 3), ...q.subarray(40)], [127, 2, -4, ...Array(8).fill(9)]);
  assert.is(
    sum,
    q.subarray(0, 40).reduce((a, b) => a + b),
  );
});

test.run();
