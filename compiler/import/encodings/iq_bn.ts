import { words32 } from '../../../artifact/encodings/float.ts';
import { FLOAT16 } from '../../../artifact/encodings/float16.ts';
import { commonScale, exactFloat16, exactFloat32, refuseCodeThree, wholeBlocks } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';
import { TRIT_BYTE } from './trits.ts';

const BLOCK = 64;
const IQ1_BYTES = 13;
const IQ2_BYTES = 16;

/** The five trits of each byte: a fraction in base 3 as of TQ1_0, but its first digit is the last trit. */
const TRITS = Uint8Array.from({ length: 5 * 256 }, (_, i) => {
  const fraction = (Math.floor(i / 5) * 3 ** (4 - (i % 5))) & 0xff;
  return (fraction * 3) >> 8;
});

/**
 * ik_llama.cpp's IQ1_BN: a row is a float16 scale and then 64 weights in each 13 bytes. Bytes 0 to 11 hold five trits
 * each, three bytes for 15 of every 16 weights; byte 12 holds the 16th, 32nd, 48th and 64th.
 */
export const iq1_bn: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('iq1_bn', cols, BLOCK);
    return rows * (2 + (cols / BLOCK) * IQ1_BYTES);
  },
  decode(bytes, codes, { cols, byteOrder }) {
    const rowBytes = 2 + (cols / BLOCK) * IQ1_BYTES;
    for (let from = 0, to = 0; to < codes.length; ) {
      if (to % cols === 0) from += 2;
      const extra = 5 * bytes[from + 12]!;
      for (let part = 0; part < 4; part++) {
        for (let i = 0; i < 3; i++) {
          let trit = 5 * bytes[from++]!;
          codes[to++] = TRITS[trit++]!;
          codes[to++] = TRITS[trit++]!;
          codes[to++] = TRITS[trit++]!;
          codes[to++] = TRITS[trit++]!;
          codes[to++] = TRITS[trit]!;
        }
        codes[to++] = TRITS[extra + part]!;
      }
      from++;
    }
    const [low, high] = byteOrder === 'little' ? [0, 1] : [1, 0];
    return commonScale(
      codes,
      cols,
      'row',
      (row) => FLOAT16[bytes[row * rowBytes + low]! | (bytes[row * rowBytes + high]! << 8)]!,
      (row) => row * rowBytes,
    );
  },
  encode(codes, scale, { cols }, bytes) {
    const half = exactFloat16('iq1_bn', scale);
    for (let at = 0, to = 0; at < codes.length; ) {
      if (at % cols === 0) {
        bytes[to++] = half & 0xff;
        bytes[to++] = half >> 8;
      }
      let last = 0;
      for (let part = 0; part < 4; part++) {
        for (let i = 0; i < 3; i++, at += 5) {
          const [a, b, c, d, e] = [codes[at]!, codes[at + 1]!, codes[at + 2]!, codes[at + 3]!, codes[at + 4]!];
          bytes[to++] = TRIT_BYTE[a + 3 * b + 9 * c + 27 * d + 81 * e]!;
        }
        last += 3 ** part * codes[at++]!;
      }
      bytes[to++] = TRIT_BYTE[last]!;
    }
  },
};

/**
 * ik_llama.cpp's IQ2_BN: a row is a float32 scale and then 64 weights in each 16 bytes, weight 16g + p of a block in
 * byte p at bits 2g.
 */
export const iq2_bn: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('iq2_bn', cols, BLOCK);
    return rows * (4 + (cols / BLOCK) * IQ2_BYTES);
  },
  decode(bytes, codes, { cols, byteOrder }) {
    const packed = words32(bytes);
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    const rowBytes = 4 + cols / 4;
    for (let from = 0, to = 0; to < out.length; to += 12) {
      if (to % (cols / 4) === 0) from++;
      for (let i = 0; i < 4; i++, from++, to++) {
        const four = packed[from]!;
        out[to] = four & 0x03030303;
        out[to + 4] = (four >>> 2) & 0x03030303;
        out[to + 8] = (four >>> 4) & 0x03030303;
        out[to + 12] = (four >>> 6) & 0x03030303;
      }
    }
    return rowScale(bytes, codes, cols, byteOrder, (row) => row * rowBytes);
  },
  encode(codes, scale, { rows, cols }, bytes) {
    const rowBytes = 4 + cols / 4;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let row = 0, at = 0; row < rows; row++) {
      view.setFloat32(row * rowBytes, exactFloat32('iq2_bn', scale), true);
      for (let to = row * rowBytes + 4; to < (row + 1) * rowBytes; at += 48) {
        for (let i = 0; i < 16; i++, at++) {
          bytes[to++] = codes[at]! | (codes[at + 16]! << 2) | (codes[at + 32]! << 4) | (codes[at + 48]! << 6);
        }
      }
    }
  },
};

/**
 * ik_llama.cpp's IQ2_BN_R4: four rows of IQ2_BN woven into each other: their four float32 scales, and then for each 64
 * columns 64 bytes. Byte 16l + 4r + i holds weights 16l + i, + 4, + 8, + 12 of row r at bits 0, 2, 4, 6.
 */
export const iq2_bn_r4: TernaryEncoding = {
  bytes(rows, cols) {
    wholeBlocks('iq2_bn_r4', rows, 4, 'rows');
    return iq2_bn.bytes(rows, cols);
  },
  decode(bytes, codes, { cols, byteOrder }) {
    const packed = words32(bytes);
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    const rowWords = cols / 4;
    for (let group = 0, from = 0; group < out.length; group += 4 * rowWords) {
      from += 4;
      for (let col = 0; col < rowWords; col += 4) {
        for (let row = 0; row < 4; row++, from++) {
          const four = packed[from]!;
          const to = group + row * rowWords + col;
          out[to] = four & 0x03030303;
          out[to + 1] = (four >>> 2) & 0x03030303;
          out[to + 2] = (four >>> 4) & 0x03030303;
          out[to + 3] = (four >>> 6) & 0x03030303;
        }
      }
    }
    const groupBytes = 4 * (4 + cols / 4);
    return rowScale(bytes, codes, cols, byteOrder, (row) => (row >> 2) * groupBytes + (row & 3) * 4);
  },
  encode(codes, scale, { rows, cols }, bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    for (let group = 0, to = 0; group < rows; group += 4) {
      for (let row = 0; row < 4; row++, to += 4) view.setFloat32(to, exactFloat32('iq2_bn_r4', scale), true);
      for (let col = 0; col < cols; col += 16) {
        for (let row = 0; row < 4; row++) {
          const start = (group + row) * cols + col;
          for (let at = start; at < start + 4; at++) {
            bytes[to++] = codes[at]! | (codes[at + 4]! << 2) | (codes[at + 8]! << 4) | (codes[at + 12]! << 6);
          }
        }
      }
    }
  },
};

/** The float32 scale that the rows share. In rows with the scale zero codes may be anything; elsewhere none is 3. */
function rowScale(
  bytes: Uint8Array,
  codes: Uint8Array,
  cols: number,
  byteOrder: 'little' | 'big',
  place: (row: number) => number,
): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const scale = commonScale(codes, cols, 'row', (row) => view.getFloat32(place(row), byteOrder === 'little'), place);
  if (codes.includes(3)) refuseCodeThree(codes);
  return scale;
}
