import { aligned, type FloatEncoding, swap16, unheld, words16 } from './float.ts';
import { FLOAT16, narrow } from './float16.ts';

/** The bits of an infinity as a binary32. */
const INFINITY_BITS = 0x7f800000;

/** IEEE 754 binary32. */
export const f32: FloatEncoding = {
  blockValues: 1,
  blockBytes: 4,
  decode(bytes, out) {
    const even = aligned(bytes, 4);
    out.set(new Float32Array(even.buffer, even.byteOffset, out.length));
  },
  encode(values) {
    return new Uint8Array(Float32Array.from(values).buffer);
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
  encode(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const halves = new Uint16Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const half = narrow(bits[i]!);
      if ((half & 0x7fff) === 0x7c00 && Number.isFinite(values[i])) throw unheld('f16', values, i);
      halves[i] = half;
    }
    return new Uint8Array(halves.buffer);
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
  encode(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const halves = new Uint16Array(values.length);
    for (let i = 0; i < bits.length; i++) {
      const word = bits[i]!;
      const magnitude = word & 0x7fffffff;
      if (magnitude > INFINITY_BITS) {
        halves[i] = (word >>> 16) | 0x40; // A NaN whose fraction is in the lower half must not become an infinity.
      } else {
        halves[i] = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
        if ((halves[i]! & 0x7fff) === INFINITY_BITS >>> 16 && magnitude !== INFINITY_BITS)
          throw unheld('bf16', values, i);
      }
    }
    return new Uint8Array(halves.buffer);
  },
  swapBytes(bytes) {
    swap16(bytes, 0, 2);
  },
};
