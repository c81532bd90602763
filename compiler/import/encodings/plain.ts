import { aligned, type FloatEncoding, swap16, words16 } from './float.ts';
import { FLOAT16 } from './float16.ts';

/** IEEE 754 binary32. */
export const f32: FloatEncoding = {
  blockValues: 1,
  blockBytes: 4,
  decode(bytes, out) {
    const even = aligned(bytes, 4);
    out.set(new Float32Array(even.buffer, even.byteOffset, out.length));
  },
  swapBytes(bytes) {
    for (let i = 0; i + 3 < bytes.length; i += 4) {
      const [b0, b1] = [bytes[i]!, bytes[i + 1]!];
      bytes[i] = bytes[i + 3]!;
      bytes[i + 1] = bytes[i + 2]!;
      bytes[i + 2] = b1;
      bytes[i + 3] = b0;
    }
  },
};

/** IEEE 754 binary16. */
export const f16: FloatEncoding = {
  blockValues: 1,
  blockBytes: 2,
  decode(bytes, out) {
    const halves = words16(bytes);
    for (let i = 0; i < out.length; i++) out[i] = FLOAT16[halves[i]!]!;
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 2);
  },
};

/** bfloat16: the upper half of a binary32. */
export const bf16: FloatEncoding = {
  blockValues: 1,
  blockBytes: 2,
  decode(bytes, out) {
    const halves = words16(bytes);
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 2);
  },
};
