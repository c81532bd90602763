import { words32 } from '../../../artifact/encodings/float.ts';
import { checkedScale, exactFloat32, refuseCodeThree, wholeBlocks } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

/** Bytes after the codes: the scale, and padding. */
const TAIL_BYTES = 32;

/**
 * bitnet.cpp's I2_S: along the flat tensor, blocks of `4 * lanes` weights in `lanes` bytes; weight lanes * g + p of a
 * block is in byte p at bits 6 - 2g. After the codes a float32 scale, padded to 32 bytes. Only the scale has a byte
 * order.
 */
function i2(name: string, lanes: number): TernaryEncoding {
  const words = lanes / 4;
  return {
    bytes(rows, cols) {
      wholeBlocks(name, rows * cols, 4 * lanes);
      return (rows * cols) / 4 + TAIL_BYTES;
    },
    decode(bytes, codes, { byteOrder }) {
      const packed = words32(bytes);
      const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
      let threes = 0;
      for (let block = 0, from = 0; block < out.length; block += lanes) {
        for (let to = block; to < block + words; to++, from++) {
          const four = packed[from]!;
          threes |= four & (four >>> 1);
          out[to] = (four >>> 6) & 0x03030303;
          out[to + words] = (four >>> 4) & 0x03030303;
          out[to + 2 * words] = (four >>> 2) & 0x03030303;
          out[to + 3 * words] = four & 0x03030303;
        }
      }
      if (threes & 0x55555555) refuseCodeThree(codes);
      return scaleAfter(codes, bytes, byteOrder);
    },
    encode(codes, scale, _, bytes) {
      const from = words32(codes);
      const packed = new Int32Array(bytes.buffer, bytes.byteOffset, codes.length / 16);
      for (let block = 0, to = 0; block < from.length; block += lanes) {
        for (let at = block; at < block + words; at++, to++) {
          packed[to] =
            (from[at]! << 6) | (from[at + words]! << 4) | (from[at + 2 * words]! << 2) | from[at + 3 * words]!;
        }
      }
      setScaleAfter(name, codes, scale, bytes);
    },
  };
}

/**
 * As builds of bitnet.cpp for x86 write it that are configured without `ACT_PARALLEL` (gemm-config.h): each byte holds
 * one column of four rows, row 4i + g at bits 6 - 2g, and the same scale follows.
 */
export const i2_s_r4: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('i2_s_r4', rows, 4, 'rows');
    return (rows * cols) / 4 + TAIL_BYTES;
  },
  decode(bytes, codes, { cols, byteOrder }) {
    let threes = 0;
    for (let from = 0, to = 0; to < codes.length; to += 3 * cols) {
      for (let col = 0; col < cols; col++, from++, to++) {
        const four = bytes[from]!;
        threes |= four & (four >> 1);
        codes[to] = four >> 6;
        codes[to + cols] = (four >> 4) & 3;
        codes[to + 2 * cols] = (four >> 2) & 3;
        codes[to + 3 * cols] = four & 3;
      }
    }
    if (threes & 0x55) refuseCodeThree(codes);
    return scaleAfter(codes, bytes, byteOrder);
  },
  encode(codes, scale, { cols }, bytes) {
    for (let at = 0, to = 0; at < codes.length; at += 3 * cols) {
      for (let col = 0; col < cols; col++, at++, to++) {
        bytes[to] = (codes[at]! << 6) | (codes[at + cols]! << 4) | (codes[at + 2 * cols]! << 2) | codes[at + 3 * cols]!;
      }
    }
    setScaleAfter('i2_s_r4', codes, scale, bytes);
  },
};

function scaleAfter(codes: Uint8Array, bytes: Uint8Array, byteOrder: 'little' | 'big'): number {
  const at = codes.length / 4;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return checkedScale(view.getFloat32(at, byteOrder === 'little'), at);
}

function setScaleAfter(name: string, codes: Uint8Array, scale: number, bytes: Uint8Array): void {
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(codes.length / 4, exactFloat32(name, scale), true);
}

/** As published: blocks of 128, whatever machine wrote the file. */
export const i2_s = i2('i2_s', 32);

/** As bitnet.cpp's builds for ARM wrote it: blocks of 64 (microsoft/BitNet issues 598 and 600). */
export const i2_s64 = i2('i2_s64', 16);
