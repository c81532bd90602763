import { swapped16, words16 } from '../../../artifact/encodings/float.ts';
import { FLOAT16 } from '../../../artifact/encodings/float16.ts';
import { commonScale, exactFloat16, wholeBlocks } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';
import { TRIT_BYTE } from './trits.ts';

const BLOCK_BYTES = 54;
const BLOCK_WORDS = BLOCK_BYTES / 2;
const LANES = 0x00ff00ff;

/**
 * ggml's TQ1_0: blocks of 256 weights in 54 bytes: 48 bytes of five trits, 4 bytes of four, then a float16 scale.
 * A byte is the fraction 0.t0t1t2t3t4 in base 3, as a fixed-point number of 256: times 3, the carry is the next trit.
 * Trit k of byte p is weight 32k + p for the first 32 bytes, 160 + 16k + p for the next 16, 240 + 4k + p for the last 4.
 */
export const tq1_0: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('tq1_0', cols, 256);
    return rows * (cols / 256) * BLOCK_BYTES;
  },
  decode(bytes, codes, { byteOrder }) {
    const packed = words16(bytes);
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    for (let block = 0; block * 64 < out.length; block++) {
      const from = block * BLOCK_WORDS;
      const to = block * 64;
      for (let i = 0; i < 8; i++) unpack(packed, from + 2 * i, out, to + i, 8, 5);
      for (let i = 0; i < 4; i++) unpack(packed, from + 16 + 2 * i, out, to + 40 + i, 4, 5);
      unpack(packed, from + 24, out, to + 60, 1, 4);
    }
    const order = byteOrder === 'little' ? (half: number) => half : swapped16;
    return commonScale(
      codes,
      256,
      'block',
      (block) => FLOAT16[order(packed[block * BLOCK_WORDS + 26]!)]!,
      (block) => (block + 1) * BLOCK_BYTES - 2,
    );
  },
  encode(codes, scale, _, bytes) {
    const half = exactFloat16('tq1_0', scale);
    for (let block = 0, to = 0; block < codes.length; block += 256) {
      for (let p = block; p < block + 32; p++) bytes[to++] = TRIT_BYTE[number(codes, p, 32, 5)]!;
      for (let p = block + 160; p < block + 176; p++) bytes[to++] = TRIT_BYTE[number(codes, p, 16, 5)]!;
      for (let p = block + 240; p < block + 244; p++) bytes[to++] = TRIT_BYTE[number(codes, p, 4, 4) * 3]!;
      bytes[to++] = half & 0xff;
      bytes[to++] = half >> 8;
    }
  },
};

/** Takes `trits` trits out of four bytes at once, in 16-bit lanes; the four weights of each trit are one word of `out`. */
function unpack(packed: Uint16Array, from: number, out: Int32Array, to: number, stride: number, trits: number): void {
  const four = packed[from]! | (packed[from + 1]! << 16);
  let even = four & LANES;
  let odd = (four >>> 8) & LANES;
  for (let k = 0; k < trits; k++) {
    even *= 3;
    odd *= 3;
    out[to + k * stride] = ((even >>> 8) & LANES) | (odd & 0xff00ff00);
    even &= LANES;
    odd &= LANES;
  }
}

/** The number whose digits in base 3 are `trits` codes. */
function number(codes: Uint8Array, at: number, stride: number, trits: number): number {
  let value = 0;
  for (let k = 0; k < trits; k++) value = value * 3 + codes[at + k * stride]!;
  return value;
}
