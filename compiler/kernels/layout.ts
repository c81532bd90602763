import { pad16 } from '../ir/plan.ts';

/** A packing of ternary codes: what it looks like in memory is written where it is defined. */
export interface Layout {
  /** Written in the manifest; kernels name the layout they read. */
  readonly id: string;
  /** Columns of a block, which is 16 rows high. Blocks of a row group follow each other along K. */
  readonly columns: number;
  readonly blockBytes: number;
  /** Packs rows x cols codes (weight + 1), row after row. Weight 0 fills the padding. */
  pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer>;
  /** Takes one packed row group apart again: 16 x cols codes, row after row. */
  unpackGroup(packed: Uint8Array, cols: number): Uint8Array;
}

/** Blocks of a row group. */
export const blocksOf = ({ columns }: Layout, cols: number): number => Math.ceil(cols / columns);

/** Bytes of one row group. All groups are as long, and follow each other along M. */
export const groupBytes = (layout: Layout, cols: number): number => blocksOf(layout, cols) * layout.blockBytes;

/** Bytes of a matrix, padding included. */
export const packedBytes = (layout: Layout, rows: number, cols: number): number =>
  (pad16(rows) / 16) * groupBytes(layout, cols);
