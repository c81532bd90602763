import { pad16 } from '../ir/plan.ts';
import { groupBytes, type Layout, packedBytes } from './layout.ts';
import { columnsToTry, defaultColumns, panelGemm } from './panel-gemm.ts';
import { type KernelFamily, refusal } from './spec.ts';

/**
 * Two bits a weight, code = weight + 1. A block is 16 rows x 16 columns in 64 bytes: byte 4r + j holds row r, columns
 * j, 4 + j, 8 + j and 12 + j at bits 0, 2, 4 and 6. Sixteen rows make a group; the blocks of a group follow each other
 * along K, and the groups along M. So a GEMV streams each group once, and one 32-bit lane always holds four columns of
 * one row, which is what vpdpbusd, vpmaddubsw and sdot multiply.
 */
export const i2: Layout = { id: 'i2_r16c16', columns: 16, blockBytes: 64, pack, unpackGroup };

/** A GEMV adds the four quads of a block to one int32 lane, the last up to 64 times too large. */
const INT32_PER_BLOCK = 4 * 128 * 128;

/** Y = W Q for many tokens. */
export const bitlinearI2Gemm: KernelFamily = panelGemm('bitlinear_i2_gemm', i2);

/** y = W q for one token: bound by the bytes of W, which are read once, in order. */
export const bitlinearI2Gemv: KernelFamily = {
  id: 'bitlinear_i2_gemv',
  takes: 'one',
  layout: i2.id,
  check(shape, tile, target) {
    bitlinearI2Gemm.check(shape, tile, target);
    if ((INT32_PER_BLOCK * pad16(shape.k)) / 16 > 2 ** 31 - 1) {
      throw refusal('bitlinear_i2_gemv', shape, tile, 'k can overflow an int32 sum');
    }
  },
  defaultTile: (shape, target) => ({ rows: target.gemv.rows, columns: defaultColumns(shape, target), tokens: 1 }),
  tiles: (shape, target) =>
    [16, 32, 48, 64, 96, 128].flatMap((rows) =>
      columnsToTry(shape, target).map((columns) => ({ rows, columns, tokens: 1 })),
    ),
  scratchBytes: () => 0,
};

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint32Array(packedBytes(i2, rows, cols) / 4).fill(0x55555555);
  const row = new Uint8Array(pad16(cols)).fill(1);
  const quads = new Uint32Array(row.buffer);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    let at = ((r >> 4) * groupBytes(i2, cols)) / 4 + (r & 15);
    for (let quad = 0; quad < quads.length; quad += 4, at += 16) {
      packed[at] = quads[quad] | (quads[quad + 1] << 2) | (quads[quad + 2] << 4) | (quads[quad + 3] << 6);
    }
  }
  return new Uint8Array(packed.buffer);
}

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let c = 0; c < cols; c++) {
      const byte = packed[(c >> 4) * 64 + r * 4 + (c & 3)];
      codes[r * cols + c] = (byte >> (2 * ((c >> 2) & 3))) & 3;
    }
  }
  return codes;
}

/** The plain reference: integer sums of rows x cols ternary codes with one token's activations. */
export function referenceSums(codes: Uint8Array, rows: number, cols: number, q: Int8Array): Int32Array {
  const sums = new Int32Array(rows);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += (codes[r * cols + c] - 1) * q[c];
    sums[r] = sum;
  }
  return sums;
}
