import { swapped16, words16 } from './float.ts';
import { FLOAT16 } from './float16.ts';
import { commonScale, refuseCodeThree } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

const BLOCK_WORDS = 33;

/**
 * ggml's TQ2_0: blocks of 256 weights in 66 bytes: 64 bytes of codes, then a float16 scale.
 * Each 32 bytes hold 128 weights: weight 32g + p is in byte p at bits 2g.
 */
export const tq2_0: TernaryEncoding = {
  blockValues: 256,
  blockBytes: 2 * BLOCK_WORDS,
  tailBytes: 0,
  decode(bytes, codes, byteOrder) {
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
    const scale = commonScale(codes, 256, 66, (block) => FLOAT16[order(packed[block * BLOCK_WORDS + 32]!)]!);
    if (threes & 0x55555555 && codes.includes(3)) refuseCodeThree(codes);
    return scale;
  },
};
