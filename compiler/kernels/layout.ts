import { pad16 } from '../ir/plan.ts';

/** A packing of ternary codes: what it looks like in memory is written where it is defined. */
export interface Layout {
  /** Written in the manifest; kernels name the layout they read. */
  readonly id: string;
  /**
   * Rows of a block. If it is left out they are 16: the blocks of a row group lie together, along K, and the groups follow
   * each other along M. Where there are more, a group's codes are all over the matrix.
   */
  readonly rows?: number;
  readonly columns: number;
  readonly blockBytes: number;
  /** Rows that have a scale of their own: 16 where it is left out. */
  readonly scaleRows?: number;
  /** Packs rows x cols codes (weight + 1), row after row. Weight 0 fills the padding. */
  pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer>;
  /** Takes a row group apart again, from its stretch of the matrix: 16 x cols codes, row after row. */
  unpackGroup(stretch: Uint8Array, cols: number, group: number): Uint8Array;
}

/** Blocks along K. */
export const blocksOf = ({ columns }: Layout, cols: number): number => Math.ceil(cols / columns);

/** Bytes of one row group, where groups lie together. */
export const groupBytes = (layout: Layout, cols: number): number => blocksOf(layout, cols) * layout.blockBytes;

/** Bytes of a matrix, padding included. */
export const packedBytes = (layout: Layout, rows: number, cols: number): number =>
  Math.ceil(pad16(rows) / (layout.rows ?? 16)) * blocksOf(layout, cols) * layout.blockBytes;

/** Which bytes of a matrix hold a row group: its own, or all where groups do not lie together. */
export function stretchOf(
  layout: Layout,
  rows: number,
  cols: number,
  group: number,
): { offset: number; bytes: number } {
  if (layout.rows !== undefined) return { offset: 0, bytes: packedBytes(layout, rows, cols) };
  const bytes = groupBytes(layout, cols);
  return { offset: group * bytes, bytes };
}
