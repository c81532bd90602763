import { swapped16, words16 } from '../../../artifact/encodings/float.ts';
import { FLOAT16 } from '../../../artifact/encodings/float16.ts';
import { commonScale, exactFloat16, refuseCodeThree, wholeBlocks } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

const BLOCK_BYTES = 66;
const BLOCK_WORDS = BLOCK_BYTES / 2;

/**
 * ggml's TQ2_0: blocks of 256 weights in 66 bytes: 64 bytes of codes, then a float16 scale.
 * Each 32 bytes hold 128 weights: weight 32g + p is in byte p at bits 2g.
 */
export const tq2_0: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('tq2_0', cols, 256);
    return rows * (cols / 256) * BLOCK_BYTES;
  },
  decode(bytes, codes, { byteOrder }) {
    const packed = words16(bytes);
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    let threes = 0;
    for (let half = 0; half * 32 < out.length; half++) {
      const from = (half >> 1) * BLOCK_WORDS + (half & 1) * 16;
      for (let i = 0; i < 8; i++) {
        const four = packed[from + 2 * i]! | (packed[from + 2 * i + 1]! << 16);
        threes |= four & (four >>> 1);
        const to = half * 32 + i;
        out[to] = four & 0x03030303;
        out[to + 8] = (four >>> 2) & 0x03030303;
        out[to + 16] = (four >>> 4) & 0x03030303;
        out[to + 24] = (four >>> 6) & 0x03030303;
      }
    }
    const order = byteOrder === 'little' ? (half: number) => half : swapped16;
    const scale = commonScale(
      codes,
      256,
      'block',
      (block) => FLOAT16[order(packed[block * BLOCK_WORDS + 32]!)]!,
      (block) => (block + 1) * BLOCK_BYTES - 2,
    );
    if (threes & 0x55555555 && codes.includes(3)) refuseCodeThree(codes);
    return scale;
  },
  encode(codes, scale, _, bytes) {
    const half = exactFloat16('tq2_0', scale);
    for (let block = 0, to = 0; block < codes.length; block += 256) {
      for (let at = block; at < block + 256; at += 128) {
        for (let p = at; p < at + 32; p++) {
          bytes[to++] = codes[p]! | (codes[p + 32]! << 2) | (codes[p + 64]! << 4) | (codes[p + 96]! << 6);
        }
      }
      bytes[to++] = half & 0xff;
      bytes[to++] = half >> 8;
    }
  },
};
