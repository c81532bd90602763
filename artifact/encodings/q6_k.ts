import { type FloatEncoding, largest, rounded, setScale, swap16 } from './float.ts';
import { FLOAT16 } from './float16.ts';

const BLOCK_BYTES = 210;
const HIGH = 128;
const SCALES = 192;
const SCALE = 208;

/**
 * ggml's Q6_K: 256 values in 210 bytes: 128 bytes of lower nibbles, 64 of upper bit pairs, 16 int8 scales (one for
 * each 16 values) and a float16 scale of those. A value is six bits less 32, times both scales.
 * Each half of 128 values is four runs of 32; run r takes its upper bits from bits 2r of the same 32 bytes, and its
 * lower ones from the low (r < 2) or high nibbles of 32 bytes (even r) or of the next 32 (odd r).
 */
export const q6_k: FloatEncoding = {
  blockValues: 256,
  blockBytes: BLOCK_BYTES,
  decode(bytes, out) {
    let to = 0;
    for (let block = 0; to < out.length; block += BLOCK_BYTES) {
      const scale = FLOAT16[bytes[block + SCALE]! | (bytes[block + SCALE + 1]! << 8)]!;
      for (let run = 0; run < 8; run++) {
        const half = run >> 2;
        const low = block + half * 64 + (run & 1) * 32;
        const nibble = run & 2 ? 4 : 0;
        const high = block + HIGH + half * 32;
        const pair = 2 * (run & 3);
        for (let i = 0; i < 32; i++) {
          const group = scale * ((bytes[block + SCALES + run * 2 + (i >> 4)]! << 24) >> 24);
          const six = ((bytes[low + i]! >> nibble) & 15) | (((bytes[high + i]! >> pair) & 3) << 4);
          out[to++] = group * (six - 32);
        }
      }
    }
  },
  encode(values) {
    const bytes = new Uint8Array((values.length / 256) * BLOCK_BYTES);
    const steps = new Float64Array(16);
    for (let block = 0, to = 0; block < values.length; block += 256, to += BLOCK_BYTES) {
      let widest = 0;
      for (let group = 0; group < 16; group++) {
        steps[group] = bestStep(values, block + 16 * group);
        if (Math.abs(steps[group]!) > Math.abs(widest)) widest = steps[group]!;
      }
      // The widest group has the scale -128: int8 reaches one farther below zero than above.
      setScale('q6_k', values, block, widest / -128, bytes, to + SCALE);
      const unit = FLOAT16[bytes[to + SCALE]! | (bytes[to + SCALE + 1]! << 8)]!;
      if (unit === 0) steps.fill(0);
      for (let group = 0; group < 16; group++) {
        const scale = steps[group] === 0 ? 0 : clamp(rounded(steps[group]! / (widest / -128)), -128, 127);
        bytes[to + SCALES + group] = scale;
        steps[group] = unit * scale;
      }
      for (let half = 0; half < 2; half++) {
        packHalf(values, block + 128 * half, steps.subarray(8 * half), bytes, to + 64 * half, to + HIGH + 32 * half);
      }
    }
    return bytes;
  },
  swapBytes(bytes) {
    swap16(bytes, SCALE, BLOCK_BYTES);
  },
};

/** Steps that are tried: those that put the value farthest from zero at 31.1, 31.2, … 32.9 of them. */
const TRIALS = 19;
const reach = (trial: number): number => 31.1 + trial / 10;

/** By how much the two sums of `bestStep` change from one trial to the next. */
const products = new Float64Array(TRIALS);
const squares = new Float64Array(TRIALS);

/**
 * The step that six bits of 16 values are best counted in, by least squares. Errors weigh as the square of the value,
 * as in ggml. The step has the sign that makes the value farthest from zero the negative end, which reaches one farther.
 *
 * From trial to trial the counts of few values change, by one: they are followed, instead of all 16 being counted again.
 */
function bestStep(values: Float32Array, start: number): number {
  const farthest = values[largest('q6_k', values, start, 16)]!;
  if (Math.abs(farthest) < 1e-15) return 0;
  products.fill(0);
  squares.fill(0);
  for (let i = start; i < start + 16; i++) {
    const value = values[i]!;
    const ratio = value / -farthest;
    const size = Math.abs(ratio);
    const sign = ratio < 0 ? -1 : 1;
    const end = ratio < 0 ? 32 : 31;
    const weight = value * value;
    const last = Math.min(end, rounded(size * reach(TRIALS - 1)));
    let count = Math.min(end, rounded(size * reach(0)));
    products[0]! += weight * value * sign * count;
    squares[0]! += weight * count * count;
    for (; count < last; count++) {
      const trial = Math.min(TRIALS - 1, Math.max(1, Math.ceil(10 * ((count + 0.5) / size - reach(0)))));
      products[trial]! += weight * value * sign;
      squares[trial]! += weight * (2 * count + 1);
    }
  }
  let best = 0;
  let bestGain = 0;
  let product = 0;
  let square = 0;
  for (let trial = 0; trial < TRIALS; trial++) {
    product += products[trial]!;
    square += squares[trial]!;
    // With these counts the best step is product / square, and lessens the error by product² / square.
    if (product * product > bestGain * square) {
      best = product / square;
      bestGain = (product * product) / square;
    }
  }
  return best;
}

/** Counts 128 values in their groups' steps, and stores lower nibbles and upper bit pairs. */
function packHalf(
  values: Float32Array,
  start: number,
  steps: Float64Array,
  bytes: Uint8Array,
  low: number,
  high: number,
): void {
  for (let lane = 0; lane < 32; lane++) {
    const first = sixBits(values[start + lane]!, steps[lane >> 4]!);
    const second = sixBits(values[start + 32 + lane]!, steps[2 + (lane >> 4)]!);
    const third = sixBits(values[start + 64 + lane]!, steps[4 + (lane >> 4)]!);
    const fourth = sixBits(values[start + 96 + lane]!, steps[6 + (lane >> 4)]!);
    bytes[low + lane] = (first & 15) | ((third & 15) << 4);
    bytes[low + 32 + lane] = (second & 15) | ((fourth & 15) << 4);
    bytes[high + lane] = (first >> 4) | ((second >> 4) << 2) | ((third >> 4) << 4) | ((fourth >> 4) << 6);
  }
}

/** A value in steps, plus 32, as an integer of six bits. */
function sixBits(value: number, step: number): number {
  return step === 0 ? 32 : 32 + clamp(rounded(value / step), -32, 31);
}

function clamp(value: number, low: number, high: number): number {
  return Math.max(low, Math.min(high, value));
}
