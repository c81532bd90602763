import { blocksOf, groupBytes, type Layout, packedBytes } from './layout.ts';
import { panelGemm } from './panel-gemm.ts';
import type { KernelFamily } from './spec.ts';
import { tableGemv } from './table-gemv.ts';

/**
 * Four bits for two weights. A block is 16 rows x 64 columns in 256 bytes, in four lanes of 16 columns. A pair (a, b) is
 * 3 (a + 1) + (b + 1). Byte 64s + 16j + r holds row r of lane j, the pair of columns 16j + 4s in bits 3..0 and the one of
 * columns 16j + 4s + 2 in bits 7..4. So the 16 bytes of a 128-bit lane are 16 rows' indices into one table, which is what
 * pshufb and tbl look up, and eight of them are summed before a lane is widened.
 */
export const tl1: Layout = { id: 'tl1_r16c64', columns: 64, blockBytes: 256, pack, unpackGroup };

/** y = W q for one token, sums of two weights looked up. */
export const bitlinearTl1Gemv: KernelFamily = tableGemv('bitlinear_tl1_gemv', tl1, 1024);

/** Y = W Q for many tokens. */
export const bitlinearTl1Gemm: KernelFamily = panelGemm('bitlinear_tl1_gemm', tl1);

/** Two pairs of zero weights. */
const ZEROS = 0x44;

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(tl1, rows, cols)).fill(ZEROS);
  const row = new Uint8Array(blocksOf(tl1, cols) * tl1.columns).fill(1);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    const group = (r >> 4) * groupBytes(tl1, cols) + (r & 15);
    for (let c = 0; c < row.length; c += 4) {
      packed[group + byteOf(c)] = (3 * row[c] + row[c + 1]) | ((3 * row[c + 2] + row[c + 3]) << 4);
    }
  }
  return packed;
}

/** Where row 0 of a group has the pairs of column c: its block, step and lane. */
const byteOf = (c: number): number => (c >> 6) * 256 + ((c >> 2) & 3) * 64 + ((c >> 4) & 3) * 16;

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let c = 0; c < cols; c++) {
      const byte = packed[byteOf(c) + r];
      const pair = c & 2 ? byte >> 4 : byte & 15;
      codes[r * cols + c] = c & 1 ? pair % 3 : Math.floor(pair / 3);
    }
  }
  return codes;
}
