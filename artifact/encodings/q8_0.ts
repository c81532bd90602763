import { type FloatEncoding, largest, rounded, setScale, swap16 } from './float.ts';
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
  encode(values) {
    const bytes = new Uint8Array((values.length / 32) * 34);
    for (let block = 0, to = 0; block < values.length; block += 32, to += 34) {
      const step = Math.abs(values[largest('q8_0', values, block, 32)]!) / 127;
      setScale('q8_0', values, block, step, bytes, to);
      for (let i = 0; i < 32; i++) bytes[to + 2 + i] = step === 0 ? 0 : rounded(values[block + i]! / step);
    }
    return bytes;
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 34);
  },
};
