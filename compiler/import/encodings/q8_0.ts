import { type FloatEncoding, swap16 } from './float.ts';
import { FLOAT16 } from './float16.ts';

/** ggml's Q8_0: 32 values in 34 bytes, a float16 scale and then 32 int8. */
export const q8_0: FloatEncoding = {
  blockValues: 32,
  blockBytes: 34,
  decode(bytes, out) {
    for (let block = 0, from = 0; block < out.length; block += 32, from += 34) {
      const scale = FLOAT16[bytes[from]! | (bytes[from + 1]! << 8)]!;
      for (let i = 0; i < 32; i++) out[block + i] = scale * ((bytes[from + 2 + i]! << 24) >> 24);
    }
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 34);
  },
};
