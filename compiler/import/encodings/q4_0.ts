import { type FloatEncoding, swap16 } from './float.ts';
import { FLOAT16 } from './float16.ts';

/** ggml's Q4_0: 32 values in 18 bytes, a float16 scale and then nibbles less 8; low nibbles are the first 16 values. */
export const q4_0: FloatEncoding = {
  blockValues: 32,
  blockBytes: 18,
  decode(bytes, out) {
    for (let block = 0, from = 0; block < out.length; block += 32, from += 18) {
      const scale = FLOAT16[bytes[from]! | (bytes[from + 1]! << 8)]!;
      for (let i = 0; i < 16; i++) {
        const pair = bytes[from + 2 + i]!;
        out[block + i] = scale * ((pair & 15) - 8);
        out[block + 16 + i] = scale * ((pair >> 4) - 8);
      }
    }
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 18);
  },
};
