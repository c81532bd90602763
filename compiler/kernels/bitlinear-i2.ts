import type { CpuTarget } from '../../targets/target.ts';
import { pad16 } from '../ir/plan.ts';
import type { Tile } from './name.ts';
import { type KernelFamily, type KernelShape, UnsupportedSpecError } from './spec.ts';

/**
 * Two bits a weight, code = weight + 1. A block is 16 rows x 16 columns in 64 bytes: byte 4r + j holds row r, columns
 * j, 4 + j, 8 + j and 12 + j at bits 0, 2, 4 and 6. Sixteen rows make a group; the blocks of a group follow each other
 * along K, and the groups along M. So a GEMV streams each group once, and one 32-bit lane always holds four columns of
 * one row, which is what vpdpbusd, vpmaddubsw and sdot multiply.
 */
export const LAYOUT = 'i2_r16c16';

/** What a running int16 pair sum may grow to: 2 products of code <= 2 and |q| <= 128 for each column quad. */
const INT16_PER_QUAD = 2 * 2 * 128;
/** A GEMV adds the four quads of a block to one int32 lane, the last up to 64 times too large. */
const INT32_PER_BLOCK = 4 * 128 * 128;

function check({ m, k }: KernelShape, tile: Tile, target: CpuTarget): void {
  const refuse = (why: string) => {
    throw new UnsupportedSpecError(`bitlinear_i2 m=${m} k=${k} t=${tile.rows}x${tile.columns}x${tile.tokens}: ${why}`);
  };
  if (m % 16 !== 0) refuse('m must be a multiple of 16 (whole row groups)');
  if (tile.rows < 16 || tile.rows % 16 !== 0) refuse('rows of a tile must be a multiple of 16 (whole row groups)');
  if (tile.columns < 16 || tile.columns % 16 !== 0) refuse('columns of a tile must be a multiple of 16 (whole blocks)');
  if (tile.tokens < 1) refuse('tokens of a tile must be at least 1');
  if (target.sumBits === 16 && (INT16_PER_QUAD * tile.columns) / 4 > 32767) {
    refuse(`${tile.columns} columns can overflow an int16 running sum; 240 are the most`);
  }
  if ((INT32_PER_BLOCK * pad16(k)) / 16 > 2 ** 31 - 1) refuse('k can overflow an int32 sum');
}

function columns({ k }: KernelShape, target: CpuTarget): number {
  return target.sumBits === 16 ? Math.min(240, pad16(k)) : pad16(k);
}

/** y = W q for one token: bound by the bytes of W, which are read once, in order. */
export const bitlinearI2Gemv: KernelFamily = {
  id: 'bitlinear_i2_gemv',
  takes: 'one',
  layout: LAYOUT,
  check,
  defaultTile: (shape, target) => ({ rows: target.gemv.rows, columns: columns(shape, target), tokens: 1 }),
  scratchBytes: () => 0,
};

/** Y = W Q for many tokens: each tile of rows is unpacked once into a panel that the caches hold. */
export const bitlinearI2Gemm: KernelFamily = {
  id: 'bitlinear_i2_gemm',
  takes: 'many',
  layout: LAYOUT,
  check,
  defaultTile: (shape, target) => ({
    rows: target.gemm.rows,
    columns: columns(shape, target),
    tokens: target.gemm.tokens,
  }),
  scratchBytes: ({ k }, tile) => tile.rows * pad16(k),
};

/**
 * Packs ternary rows into the layout above.
 * `codes` holds rows x cols codes (0, 1, 2), row after row; the result has pad16(rows) x pad16(cols) / 4 bytes, with
 * code 1 (weight 0) in the padding.
 */
export function packI2(codes: Uint8Array, rows: number, cols: number): Uint8Array {
  const blocks = pad16(cols) / 16;
  const packed = new Uint32Array((pad16(rows) / 16) * blocks * 16).fill(0x55555555);
  const row = new Uint8Array(blocks * 16).fill(1);
  const quads = new Uint32Array(row.buffer);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    let at = (r >> 4) * blocks * 16 + (r & 15);
    for (let quad = 0; quad < quads.length; quad += 4, at += 16) {
      packed[at] = quads[quad] | (quads[quad + 1] << 2) | (quads[quad + 2] << 4) | (quads[quad + 3] << 6);
    }
  }
  return new Uint8Array(packed.buffer);
}

/** Takes one packed row group of 16 x pad16(cols) apart again: 16 x cols codes, row after row. */
export function unpackI2Group(packed: Uint8Array, cols: number): Uint8Array {
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
