import { pad16 } from '../ir/plan.ts';
import { blocksOf, type Layout, packedBytes } from './layout.ts';
import type { Tile } from './name.ts';
import { panelGemm } from './panel-gemm.ts';
import { FEW_TOKENS, type KernelFamily, refusal } from './spec.ts';

/**
 * Two bits a weight, code = weight + 1, column after column, each padded to whole cache lines. Of 256 rows in 64 bytes,
 * byte 16 (r / 4) + 4h + r % 4 has row r of the row groups 4h + j at bits 2j. So one column can be multiplied without the
 * others, and four of them, interleaved byte by byte, are sixteen row groups of one column quad each.
 */
export const i2Columns: Layout = { id: 'i2_r256c1', rows: 256, columns: 4, blockBytes: 256, pack, unpackGroup };

/** What a column adds to an int32 sum at most. */
const INT32_PER_COLUMN = 2 * 128;

/** Rows padded to whole cache lines of codes. */
const pad256 = (rows: number): number => Math.ceil(rows / 256) * 256;

/** y = W q for few tokens: of the columns, those that do not meet zeros only. */
export const bitlinearI2ColumnsGemv: KernelFamily = {
  id: 'bitlinear_i2_columns_gemv',
  takes: 'one',
  most: FEW_TOKENS,
  layout: i2Columns.id,
  check(shape, tile) {
    const refuse = (why: string) => refusal(bitlinearI2ColumnsGemv.id, shape, tile, why);
    if (shape.m % 16 !== 0) throw refuse('m must be a multiple of 16 (whole row groups)');
    if (tile.rows !== 16 || tile.columns !== 4 || tile.held !== undefined || tile.tokens !== 1) {
      throw refuse('columns are added four at a time, to all rows');
    }
    if (INT32_PER_COLUMN * shape.k > 2 ** 31 - 1) throw refuse('k can overflow an int32 sum');
  },
  defaultTile: () => ({ rows: 16, columns: 4, tokens: 1 }),
  tiles: () => [],
  // An int32 sum for each row and token, and a list of columns.
  scratchBytes: ({ m, k }) => 4 * (FEW_TOKENS * pad256(m) + pad16(k) + 16),
};

/** Tiles whose panels are unpacked together: four row groups share bytes, so tiles of fewer would read them again. */
export const panelsOf = ({ rows }: Tile): number => Math.max(1, Math.floor(64 / rows));

const oneTile = panelGemm('bitlinear_i2_columns_gemm', i2Columns);

/** Y = W Q for many tokens. */
export const bitlinearI2ColumnsGemm: KernelFamily = {
  ...oneTile,
  scratchBytes: (shape, tile) => panelsOf(tile) * oneTile.scratchBytes(shape, tile),
};

/** Columns whose codes are added to the sums at once: about 16 KiB of them, which the nearest cache holds twice. */
export const runOf = (rows: number): number => Math.min(32, Math.max(4, 4 * Math.floor(4096 / (pad256(rows) / 4))));

/** Columns that are packed together: as many as the nearest cache holds. */
const COLUMNS_AT_ONCE = 64;

/** Where in a column row r's code is: its byte, and its first bit. */
function place(row: number): { byte: number; bit: number } {
  const group = (row >> 4) & 15;
  const r = row & 15;
  return { byte: (row >> 8) * 64 + 16 * (r >> 2) + 4 * (group >> 2) + (r & 3), bit: 2 * (group & 3) };
}

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(i2Columns, rows, cols)).fill(0x55);
  const columnBytes = pad256(rows) / 4;
  for (let first = 0; first < cols; first += COLUMNS_AT_ONCE) {
    const last = Math.min(first + COLUMNS_AT_ONCE, cols);
    for (let row = 0; row < rows; row++) {
      const { byte, bit } = place(row);
      // A code of 1 stands there already: exclusive or with it gives the code.
      for (let c = first; c < last; c++) packed[c * columnBytes + byte] ^= (codes[row * cols + c] ^ 1) << bit;
    }
  }
  return packed;
}

function unpackGroup(packed: Uint8Array, cols: number, group: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  const columnBytes = packed.length / (4 * blocksOf(i2Columns, cols));
  for (let r = 0; r < 16; r++) {
    const { byte, bit } = place(16 * group + r);
    for (let c = 0; c < cols; c++) codes[r * cols + c] = (packed[c * columnBytes + byte] >> bit) & 3;
  }
  return codes;
}
