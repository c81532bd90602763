import { type FloatEncoding, swap16 } from './float.ts';
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
  swapBytes(bytes) {
    swap16(bytes, SCALE, BLOCK_BYTES);
  },
};
