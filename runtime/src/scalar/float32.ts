/** Arithmetic of float32 numbers that JavaScript lacks, rounded as every target rounds. */
import { rounded } from '../../../artifact/encodings/float.ts';

/** a * b + c of float32 numbers, rounded once. */
export function fma(a: number, b: number, c: number): number {
  // The product is exact in float64, and where the sum is not, it was still rounded away from no boundary of float32 but one:
  // a float64 halfway between two float32 may stand for a sum to either side of it.
  const product = a * b;
  const sum = product + c;
  const nearest = Math.fround(sum);
  const rest = sum - nearest;
  if (rest === 0) return nearest;
  const other = nearest + 2 * rest;
  if (Math.fround(other) !== other) return nearest;
  const part = sum - product;
  const error = product - (sum - part) + (c - part);
  return (rest > 0 && error > 0) || (rest < 0 && error < 0) ? other : nearest;
}

const LOWEST = Math.fround(-87.3);
const LOG2_E = Math.fround(Math.LOG2E);
const LN2_REST = Math.fround(2.1219444e-4);
const TERMS = [1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1, 1].map(Math.fround);
const FIRST_TERM = Math.fround(1 / 5040);

/** e^v to within 2 units in the last place, for v from -87.3 to 88; beyond, what it is at the nearer end. `bn_exp` of rows.h. */
export function exp(v: number): number {
  const x = Math.max(Math.min(v, 88), LOWEST);
  const n = rounded(Math.fround(x * LOG2_E));
  const r = fma(n, LN2_REST, fma(n, -0.693359375, x));
  let e = FIRST_TERM;
  for (const term of TERMS) e = fma(e, r, term);
  return Math.fround(e * 2 ** n);
}
