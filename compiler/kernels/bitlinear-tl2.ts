import { blocksOf, groupBytes, type Layout, packedBytes } from './layout.ts';
import { panelGemm } from './panel-gemm.ts';
import type { KernelFamily } from './spec.ts';
import { tableGemv } from './table-gemv.ts';

/**
 * Five bits for three weights. A block is 16 rows x 96 columns in 320 bytes, in four lanes of 24 columns. A triple
 * (a, b, c) is n = 9a + 3b + c: |n| <= 13 is the index, and its sign is kept apart. Byte 64s + 16j + r holds row r of lane
 * j, the triple of columns 24j + 6s in bits 3..0 and the one of columns 24j + 6s + 3 in bits 7..4; bit i of byte
 * 256 + 16j + r is 1 where n of columns 24j + 3i is negative. So 128-bit lanes look up as in tl1, and one byte has all the
 * signs that a row needs in a lane.
 */
export const tl2: Layout = { id: 'tl2_r16c96', columns: 96, blockBytes: 320, pack, unpackGroup };

/** y = W q for one token, sums of three weights looked up. NEON's tables hold the negative sums too. */
export const bitlinearTl2Gemv: KernelFamily = tableGemv('bitlinear_tl2_gemv', tl2, 2048);

/** Y = W Q for many tokens. */
export const bitlinearTl2Gemm: KernelFamily = panelGemm('bitlinear_tl2_gemm', tl2);

/** -n of the triple whose codes are all 0. */
const CENTRE = 13;
/** Where the signs of a block begin. */
const SIGNS = 256;

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(tl2, rows, cols));
  const row = new Uint8Array(blocksOf(tl2, cols) * tl2.columns).fill(1);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    let block = (r >> 4) * groupBytes(tl2, cols) + (r & 15);
    for (let first = 0; first < row.length; first += tl2.columns, block += tl2.blockBytes) {
      for (let triple = 0; triple < 32; triple++) {
        const c = first + 3 * triple;
        const n = 9 * row[c] + 3 * row[c + 1] + row[c + 2] - CENTRE;
        const lane = 16 * (triple >> 3);
        packed[block + 64 * ((triple & 7) >> 1) + lane] |= Math.abs(n) << (4 * (triple & 1));
        if (n < 0) packed[block + SIGNS + lane] |= 1 << (triple & 7);
      }
    }
  }
  return packed;
}

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let c = 0; c < cols; c++) {
      const block = Math.floor(c / 96) * 320 + r;
      const triple = Math.floor((c % 96) / 3);
      const lane = 16 * (triple >> 3);
      const index = (packed[block + 64 * ((triple & 7) >> 1) + lane] >> (4 * (triple & 1))) & 15;
      const negative = (packed[block + SIGNS + lane] >> (triple & 7)) & 1;
      const n = CENTRE + (negative ? -index : index);
      codes[r * cols + c] = Math.floor(n / [9, 3, 1][c % 3]) % 3;
    }
  }
  return codes;
}
