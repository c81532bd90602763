import { pad16 } from '../ir/plan.ts';
import { blocksOf, type Layout, packedBytes } from './layout.ts';
import { panelGemm } from './panel-gemm.ts';
import { FEW_TOKENS, type KernelFamily, refusal } from './spec.ts';

/**
 * Two bits a weight, code = weight + 1, row after row, each padded to whole cache lines. Byte i of the 64 that hold 256
 * columns has column 64 j + i at bits 2j. So one row can be multiplied without the others: those that meet a zero are not
 * read.
 */
export const i2Rows: Layout = { id: 'i2_r1c256', columns: 256, blockBytes: 1024, pack, unpackGroup };

/** What a block adds to one int32 lane: four bytes, the codes of the last columns 64 times too large. */
const INT32_PER_BLOCK = 4 * 2 * 64 * 128;

/** Bytes of one packed row. */
const rowBytes = (cols: number): number => blocksOf(i2Rows, cols) * 64;

/** y = W q for few tokens, for those rows only that are asked for. */
export const bitlinearI2RowsGemv: KernelFamily = {
  id: 'bitlinear_i2_rows_gemv',
  takes: 'one',
  most: FEW_TOKENS,
  layout: i2Rows.id,
  check(shape, tile) {
    const refuse = (why: string) => refusal(bitlinearI2RowsGemv.id, shape, tile, why);
    if (shape.m % 16 !== 0) throw refuse('m must be a multiple of 16 (whole row groups)');
    if (tile.rows !== 16 || tile.columns !== pad16(shape.k) || tile.held !== undefined || tile.tokens !== 1) {
      throw refuse('a row is summed whole');
    }
    if (INT32_PER_BLOCK * blocksOf(i2Rows, shape.k) > 2 ** 31 - 1) throw refuse('k can overflow an int32 sum');
  },
  defaultTile: ({ k }) => ({ rows: 16, columns: pad16(k), tokens: 1 }),
  tiles: () => [],
  // Activations padded to whole blocks, and a list of rows.
  scratchBytes: ({ m, k }) => FEW_TOKENS * blocksOf(i2Rows, k) * 256 + 4 * (m + 16),
};

/** Y = W Q for many tokens. */
export const bitlinearI2RowsGemm: KernelFamily = panelGemm('bitlinear_i2_rows_gemm', i2Rows);

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(i2Rows, rows, cols)).fill(0x55);
  const row = new Uint8Array(blocksOf(i2Rows, cols) * 256).fill(1);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    packInto(packed.subarray(r * rowBytes(cols), (r + 1) * rowBytes(cols)), row);
  }
  return packed;
}

/** Four codes a byte: byte i of each 64 has those of 64 j + i at bits 2j. */
export function packInto(packed: Uint8Array, codes: Uint8Array): void {
  const words = new Uint32Array(codes.buffer, codes.byteOffset, codes.length / 4);
  const out = new Uint32Array(packed.buffer, packed.byteOffset, packed.length / 4);
  for (let block = 0; block < out.length; block += 16) {
    for (let i = 0; i < 16; i++) {
      const at = 4 * block + i;
      out[block + i] = words[at] | (words[at + 16] << 2) | (words[at + 32] << 4) | (words[at + 48] << 6);
    }
  }
}

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let c = 0; c < cols; c++) {
      const byte = packed[r * rowBytes(cols) + (c >> 8) * 64 + (c & 63)];
      codes[r * cols + c] = (byte >> (2 * ((c >> 6) & 3))) & 3;
    }
  }
  return codes;
}
