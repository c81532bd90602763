/**
 * Arithmetic on rows of float32, in the order of templates/cpp/rows.h: sums run in sixteen lanes that are folded in one order, so
 * results are those of every CPU target, bit for bit. A row's end may be padded with zeros.
 */
import { rounded } from '../../../artifact/encodings/float.ts';
import { exp, fma } from './float32.ts';

const lanes = new Float32Array(16);

/** All lanes added up: lane l to lane l + 8, then + 4, + 2, + 1. */
function total(): number {
  for (let half = 8; half >= 1; half /= 2) for (let i = 0; i < half; i++) lanes[i]! += lanes[i + half]!;
  return lanes[0]!;
}

/** The sum of the products of two rows of so many values. */
export function dot(a: Float32Array, b: Float32Array, count: number): number {
  lanes.fill(0);
  for (let i = 0; i < count; i++) lanes[i & 15] = fma(a[i]!, b[i]!, lanes[i & 15]!);
  return total();
}

/** The sum of so many values. */
export function sum(values: Float32Array, count: number): number {
  lanes.fill(0);
  for (let i = 0; i < count; i++) lanes[i & 15]! += values[i]!;
  return total();
}

/** out = x / sqrt(mean(x^2) + epsilon) * weight, of `size` values. It may be x. */
export function rmsNorm(out: Float32Array, x: Float32Array, weight: Float32Array, size: number, epsilon: number): void {
  const mean = Math.fround(dot(x, x, size) / size);
  const scale = Math.fround(1 / Math.fround(Math.sqrt(Math.fround(mean + epsilon))));
  for (let i = 0; i < size; i++) out[i] = Math.fround(x[i]! * scale) * weight[i]!;
}

const LEAST = Math.fround(1e-5);

/** What a row's quantised values times this are its values, and their sum. */
export interface Quant {
  readonly inverseScale: number;
  readonly sum: number;
}

/** q = clamp(round(x * 127 / max(|x|, 1e-5))) to int8, ties to even. */
export function quantise(q: Float32Array, x: Float32Array, size: number): Quant {
  let largest = LEAST;
  for (let i = 0; i < size; i++) largest = Math.max(largest, Math.abs(x[i]!));
  const scale = Math.fround(127 / largest);
  let sum = 0;
  for (let i = 0; i < size; i++) {
    const value = Math.min(127, Math.max(-128, rounded(Math.fround(x[i]! * scale))));
    q[i] = value;
    sum += value;
  }
  return { inverseScale: Math.fround(largest / 127), sum };
}

/** The activation of a gate, times what it lets through: to be rounded once more. */
export type Gate = (gate: number, up: number) => number;

const CUBIC = Math.fround(0.044715);
const TWICE = Math.fround(-1.59576912);

const sigmoid = (gate: number, e: number): number => Math.fround(gate / Math.fround(1 + e));

export const GATES: Readonly<Record<'relu2' | 'silu' | 'gelu', Gate>> = {
  relu2: (gate, up) => Math.fround(Math.max(gate, 0) ** 2) * up,
  silu: (gate, up) => sigmoid(gate, exp(0 - gate)) * up,
  gelu: (gate, up) => {
    const cube = Math.fround(Math.fround(gate * gate) * gate);
    return sigmoid(gate, exp(Math.fround(fma(cube, CUBIC, gate) * TWICE))) * up;
  },
};
