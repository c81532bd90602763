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
      for (let i = 0; i < 256; i++) {
        const step = steps[i >> 4]!;
        const six = step === 0 ? 32 : 32 + clamp(rounded(values[block + i]! / step), -32, 31);
        const [half, run, lane] = [i >> 7, (i >> 5) & 3, i & 31];
        bytes[to + half * 64 + (run & 1) * 32 + lane]! |= (six & 15) << (run & 2 ? 4 : 0);
        bytes[to + HIGH + half * 32 + lane]! |= (six >> 4) << (2 * run);
      }
    }
    return bytes;
  },
  swapBytes(bytes) {
    swap16(bytes, SCALE, BLOCK_BYTES);
  },
};

/** Powers of the values that a step is sought for. */
const squares = new Float64Array(16);
const cubes = new Float64Array(16);

/**
 * The step that six bits of 16 values are best counted in, by least squares. Errors weigh as the square of the value,
 * as in ggml. Tried are the steps that put the value farthest from zero at 31.1 to 32.9 of them; it has the sign that
 * makes that value the negative end, which reaches one farther.
 */
function bestStep(values: Float32Array, start: number): number {
  const farthest = values[largest('q6_k', values, start, 16)]!;
  if (Math.abs(farthest) < 1e-15) return 0;
  for (let i = 0; i < 16; i++) {
    const value = values[start + i]!;
    squares[i] = value * value;
    cubes[i] = squares[i]! * value;
  }
  let best = 0;
  let bestGain = 0;
  for (let tenths = -9; tenths <= 9; tenths++) {
    const inverse = -(32 + tenths / 10) / farthest;
    let product = 0;
    let square = 0;
    for (let i = 0; i < 16; i++) {
      const six = clamp(rounded(inverse * values[start + i]!), -32, 31);
      product += cubes[i]! * six;
      square += squares[i]! * six * six;
    }
    // With this rounding the best step is product / square, and lessens the error by product² / square.
    if (product * product > bestGain * square) {
      best = product / square;
      bestGain = (product * product) / square;
    }
  }
  return best;
}

function clamp(value: number, low: number, high: number): number {
  return value < low ? low : Math.min(value, high);
}
