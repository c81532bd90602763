/** The arithmetic of artifact/sampling.h, which CPUs and GPUs share: weights are integers, and add up the same in any order. */

/** log2(e) */
export const HALVINGS = Math.LOG2E;

const LARGEST = 3.4028234663852886e38;
const LARGEST_WEIGHT = 2 ** 36;
const WORD = 2 ** 32;

export const mayBeDrawn = (logit: number): boolean => logit >= -LARGEST;

/** A logit beyond the largest float counts as equal to it, one that is never drawn as -infinity. */
export const bounded = (logit: number): number =>
  mayBeDrawn(logit) ? Math.min(logit, LARGEST) : Number.NEGATIVE_INFINITY;

/** a * b / 2^32, rounded down, of 32-bit integers. */
const upper = (a: number, b: number): number =>
  Math.floor(((a >>> 16) * b + Math.floor(((a & 0xffff) * b) / 65536)) / 65536);

/** 2^36 e^((logit - largest) / temperature), rounded down, where `rate` is log2(e) / temperature. */
export function weight(logit: number, largest: number, rate: number = HALVINGS): number {
  if (logit === largest) return LARGEST_WEIGHT;
  const halvings = (largest - logit) * rate;
  if (!(halvings < 37)) return 0;
  const fixed = Math.floor(halvings * WORD);
  const whole = Math.floor(fixed / WORD);
  const f = fixed - whole * WORD;
  let sum = 0x9c200 - upper(f, 0xbda6);
  sum = 0x5728b0 - upper(f, sum);
  sum = 0x27641a9 - upper(f, sum);
  sum = 0xe358127 - upper(f, sum);
  sum = 0x3d7f7bcb - upper(f, sum);
  sum = 0xb17217f7 - upper(f, sum);
  sum = WORD - upper(f, sum);
  return Math.floor((sum * 16) / 2 ** whole);
}

/** Weights that a float64 adds up exactly. */
const EXACT = 2 ** 16;

/** The sum of the weights of many. */
export function total(items: ArrayLike<number>, weightOf: (item: number) => number): bigint {
  let sum = 0n;
  for (let from = 0; from < items.length; from += EXACT) {
    const end = Math.min(from + EXACT, items.length);
    let part = 0;
    for (let i = from; i < end; i++) part += weightOf(items[i]!);
    sum += BigInt(part);
  }
  return sum;
}

/** The index of the item with whose weight the sum reaches `wanted`. */
export function reaching(
  items: ArrayLike<number>,
  weightOf: (item: number) => number,
  wanted: bigint,
): number | undefined {
  let left = wanted;
  for (let from = 0; from < items.length; from += EXACT) {
    const end = Math.min(from + EXACT, items.length);
    let part = 0;
    for (let i = from; i < end; i++) {
      part += weightOf(items[i]!);
      if (part >= left) return i;
    }
    left -= BigInt(part);
  }
  return undefined;
}

/** Of a sum of weights what has to be reached for top-p: at least 1. */
export function nucleus(sum: bigint, topP: number): bigint {
  const least = BigInt(Math.ceil(topP * Number(sum)));
  const most = least > sum ? sum : least;
  return most > 0n ? most : 1n;
}
