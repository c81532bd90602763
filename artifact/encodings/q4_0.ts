import { type FloatEncoding, largest, setScale, swap16 } from './float.ts';
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
  encode(values) {
    const bytes = new Uint8Array((values.length / 32) * 18);
    for (let block = 0, to = 0; block < values.length; block += 32, to += 18) {
      // The value farthest from zero is the nibble 0, exactly: eight steps on its own side, seven on the other.
      const step = values[largest('q4_0', values, block, 32)]! / -8;
      setScale('q4_0', values, block, step, bytes, to);
      const nibble = (i: number) => (step === 0 ? 8 : Math.min(15, Math.floor(values[block + i]! / step + 8.5)));
      for (let i = 0; i < 16; i++) bytes[to + 2 + i] = nibble(i) | (nibble(16 + i) << 4);
    }
    return bytes;
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 18);
  },
};
