import { BitnetError } from '../../../errors.ts';
import type { Ternary } from './ternary.ts';

/** The least scale, as in BitNet's own code. */
const MIN_SCALE = 1e-5;

/** More different magnitudes than this are no quantised weights. */
const MAX_MAGNITUDES = 16;

/** Weights that lose less of their energy than this lie in three clusters; evenly spread ones lose 12%. */
const CLUSTERED = 0.1;

/** Bins of |w| / scale, so fine that steps of bfloat16 do not show. */
const MAX_RATIO = 1.5;
const BINS_PER_UNIT = 1000;
/** Half the width of a window over bins. */
const WINDOW = 50;
/** Where codes change from 0 to ±1, and places to compare with. Beside the boundary there are fewer than usual. */
const BOUNDARY = 500;
const ELSEWHERE = [200, 300, 700, 800, 900, 1000, 1100, 1200];
/** How much higher than beside it the density at the boundary must be; by so many standard deviations. */
const MIN_PEAK = 0.02;
const MIN_DEVIATIONS = 5;

const HINT = '--force quantises them anyway, at whatever cost to the answers.';

/**
 * Ternary weights out of real numbers, in two passes over them: first `measure` all, then `quantise` all, then `finish`.
 *
 * Weights that are exactly -s, 0 and s are taken as they are. All others are quantised by absmean as BitNet b1.58 is
 * trained (arXiv 2402.17764): the scale is the mean of |w|, in float32; the code that of w / scale, rounded half to
 * even and clamped to -1, 0, 1.
 *
 * Real numbers are near ternary if they show one of two things that the weights of other models do not:
 * - they lie in three clusters: codes times the best scale leave less than 10% of Σw². Normally distributed weights
 *   leave 21%, evenly spread ones 12%.
 * - they are masters that were trained through this very quantisation: such weights collect where their code is about
 *   to change, at |w| = scale / 2 (Tequila, arXiv 2509.23809, calls it deadzone trapping). Otherwise masters look like
 *   any model's weights. Of models trained for this test, each ternary matrix had 4% to 50% more weights there than
 *   beside it after 2,000 steps; the same model trained without quantisation never more than 1%.
 */
export class AbsmeanQuantiser {
  private readonly magnitudes = new Set<number>();
  private count = 0;
  private sum = 0;
  private inverse: number | undefined;
  private squares = 0;
  private products = 0;
  private nonzeros = 0;
  private readonly bins = new Uint32Array(MAX_RATIO * BINS_PER_UNIT);

  /** The first pass. Throws a BitnetError where a value is not finite. */
  measure(values: Float32Array): void {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += Math.abs(values[i]!);
    if (!Number.isFinite(sum)) {
      const bad = values.findIndex((value) => !Number.isFinite(value));
      throw new BitnetError(`value ${this.count + bad} is ${values[bad]}`);
    }
    this.sum += sum;
    this.count += values.length;
    let last = 0;
    for (let i = 0; i < values.length && this.magnitudes.size <= MAX_MAGNITUDES; i++) {
      const magnitude = Math.abs(values[i]!);
      if (magnitude === last || magnitude === 0) continue;
      last = magnitude;
      this.magnitudes.add(magnitude);
    }
  }

  /** The second pass: fills as many codes as there are values. */
  quantise(values: Float32Array, codes: Uint8Array): void {
    if (this.isExact) {
      for (let i = 0; i < values.length; i++) codes[i] = 1 + Math.sign(values[i]!);
      return;
    }
    this.inverse ??= Math.fround(1 / Math.max(Math.fround(this.sum / this.count), MIN_SCALE));
    const { inverse, bins } = this;
    let [squares, products, nonzeros] = [0, 0, 0];
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      const ratio = Math.fround(value * inverse);
      const magnitude = Math.abs(ratio);
      squares += ratio * ratio;
      if (magnitude > 0.5) {
        codes[i] = ratio > 0 ? 2 : 0;
        products += magnitude;
        nonzeros++;
      } else {
        codes[i] = 1;
      }
      if (magnitude < MAX_RATIO) bins[(magnitude * BINS_PER_UNIT) | 0]!++;
    }
    this.squares += squares;
    this.products += products;
    this.nonzeros += nonzeros;
  }

  /** The scale. Throws a BitnetError with the reason if the weights are not near ternary, unless it is forced. */
  finish(force: boolean): number {
    if (this.isExact) return [...this.magnitudes][0] ?? 0;
    if (!force) this.refuseOthers();
    return Math.fround(1 / this.inverse!);
  }

  private get isExact(): boolean {
    return this.magnitudes.size <= 1;
  }

  private refuseOthers(): void {
    if (this.magnitudes.size <= MAX_MAGNITUDES) {
      throw new BitnetError(
        `the weights have ${this.magnitudes.size} different magnitudes, where ternary weights have one scale`,
        { hint: HINT },
      );
    }
    const lost = 1 - this.products ** 2 / (this.nonzeros * this.squares);
    if (lost < CLUSTERED) return;
    const { height, deviation } = this.peak(BOUNDARY);
    const usual = Math.max(...ELSEWHERE.map((at) => Math.abs(this.peak(at).height)));
    if (height > Math.max(MIN_PEAK, MIN_DEVIATIONS * deviation, 2 * usual)) return;
    throw new BitnetError(
      `the weights are not near ternary: three values lose ${percent(lost)} of their energy, where clusters lose less than ${percent(CLUSTERED)}, and there are ${percent(height)} more of them where codes change than beside it, as in models that were not trained to be ternary`,
      { hint: HINT },
    );
  }

  /** By how much the density around a bin exceeds that beside it, and the standard deviation of that. */
  private peak(at: number): { height: number; deviation: number } {
    const here = this.density(at);
    const beside = this.density(at - WINDOW) + this.density(at + WINDOW);
    // Counts under a triangle have two thirds of the variance of plain ones.
    return { height: (2 * here) / beside - 1, deviation: Math.sqrt((2 / 3) * (1 / here + 1 / beside)) };
  }

  /** Weights in a window, those in its middle counting most; never zero. */
  private density(at: number): number {
    let sum = 1;
    for (let offset = -WINDOW; offset < WINDOW; offset++) {
      sum += this.bins[at + offset]! * (1 - Math.abs(offset + 0.5) / WINDOW);
    }
    return sum;
  }
}

/**
 * Quantises all of a tensor's values at once: see AbsmeanQuantiser. The codes go to the start of `into` if it is given.
 * Throws a BitnetError where a value is not finite, and unless it is forced if the weights are not near ternary.
 */
export function quantiseTernary(
  values: Float32Array,
  into: Uint8Array<ArrayBuffer> = new Uint8Array(values.length),
  { force = false }: { readonly force?: boolean } = {},
): Ternary {
  const codes = into.subarray(0, values.length);
  const quantiser = new AbsmeanQuantiser();
  quantiser.measure(values);
  quantiser.quantise(values, codes);
  return { codes, scale: quantiser.finish(force) };
}

function percent(fraction: number): string {
  return `${(100 * fraction).toFixed(1)}%`;
}
