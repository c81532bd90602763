import { words32 } from './float.ts';
import { checkedScale, refuseCodeThree } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

/**
 * bitnet.cpp's I2_S: along the flat tensor, blocks of 128 weights in 32 bytes; weight 32g + p of a block is in byte p
 * at bits 6 - 2g. After the codes a float32 scale, padded to 32 bytes. Only the scale has a byte order.
 */
export const i2_s: TernaryEncoding = {
  blockValues: 128,
  blockBytes: 32,
  tailBytes: 32,
  decode(bytes, codes, byteOrder) {
    const packed = words32(bytes);
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    let threes = 0;
    for (let block = 0; block < out.length; block += 32) {
      const from = block >> 2;
      for (let i = 0; i < 8; i++) {
        const four = packed[from + i]!;
        threes |= four & (four >>> 1);
        const to = block + i;
        out[to] = (four >>> 6) & 0x03030303;
        out[to + 8] = (four >>> 4) & 0x03030303;
        out[to + 16] = (four >>> 2) & 0x03030303;
        out[to + 24] = four & 0x03030303;
      }
    }
    if (threes & 0x55555555) refuseCodeThree(codes);
    const at = codes.length / 4;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return checkedScale(view.getFloat32(at, byteOrder === 'little'), at);
  },
};
