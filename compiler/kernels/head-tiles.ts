import type { Encoding } from '../ir/model.ts';

/**
 * How a GPU reads the rows of a head: groups of 16 rows x 128 columns in the order of A fragments of tensor cores, lane
 * 4g + c holding row g + 8 (i & 1) in word i; templates/cuda/head.cuh draws each. Groups of 16 rows follow each other along
 * K, then along the vocabulary.
 */
export interface HeadTiles {
  readonly groupBytes: number;
  /** Packs 16 rows, one after the other as the model file has them; missing ones at the end are zero. */
  pack(rows: Uint8Array, cols: number): Uint8Array;
}

const ROWS = 16;
const COLUMNS = 128;

const halvesOf = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);

/** Where column k of a group is in a tile of 32 columns of bytes. */
const byteOf = (row: number, k: number): number =>
  ((row & 7) * 4 + ((k >> 2) & 3)) * 16 + ((row >> 3) + 2 * ((k >> 4) & 1)) * 4 + (k & 3);

const f16: HeadTiles = {
  groupBytes: 4096,
  pack(rows, cols) {
    const packed = new Uint8Array(cols * ROWS * 2);
    const [from, to] = [halvesOf(rows.slice()), halvesOf(packed)];
    for (let row = 0; row < from.length / cols; row++) {
      for (let k = 0; k < cols; k++) {
        const lane = (row & 7) * 4 + ((k >> 1) & 3);
        const word = (row >> 3) + 2 * ((k >> 3) & 1);
        to[(k >> 4) * 256 + lane * 8 + word * 2 + (k & 1)] = from[row * cols + k];
      }
    }
    return packed;
  },
};

const q8_0: HeadTiles = {
  groupBytes: 2048 + 128,
  pack(rows, cols) {
    const packed = new Uint8Array((cols / COLUMNS) * this.groupBytes);
    const rowBytes = (cols / 32) * 34;
    for (let row = 0; row < rows.length / rowBytes; row++) {
      for (let block = 0; block < cols / 32; block++) {
        const from = row * rowBytes + block * 34;
        const group = (block >> 2) * this.groupBytes;
        const scale = group + 2048 + ((block & 3) * ROWS + row) * 2;
        packed.set(rows.subarray(from, from + 2), scale);
        for (let k = 0; k < 32; k++) packed[group + (block & 3) * 512 + byteOf(row, k)] = rows[from + 2 + k];
      }
    }
    return packed;
  },
};

const q6_k: HeadTiles = {
  groupBytes: 1024 + 512 + 128 + 32,
  pack(rows, cols) {
    const packed = new Uint8Array((cols / COLUMNS) * this.groupBytes);
    const rowBytes = (cols / 256) * 210;
    for (let row = 0; row < rows.length / rowBytes; row++) {
      const [g, high] = [row & 7, row >> 3];
      for (let half = 0; half < cols / COLUMNS; half++) {
        const block = row * rowBytes + (half >> 1) * 210;
        const [low, upper] = [block + (half & 1) * 64, block + 128 + (half & 1) * 32];
        const group = half * this.groupBytes;
        for (let k = 0; k < COLUMNS; k++) {
          const [tile, at] = [k >> 5, k & 31];
          const lane = 4 * g + ((k >> 2) & 3);
          const word = (k >> 4) & 1;
          const lowBits = (rows[low + (tile & 1) * 32 + at] >> (4 * (tile >> 1))) & 15;
          const upperBits = (rows[upper + at] >> (2 * tile)) & 3;
          packed[group + (tile >> 1) * 512 + lane * 16 + ((tile & 1) * 2 + word) * 4 + (k & 3)] |=
            lowBits << (4 * high);
          packed[group + 1024 + lane * 16 + tile * 4 + (k & 3)] |= upperBits << (2 * (high + 2 * word));
        }
        for (let scale = 0; scale < 8; scale++) {
          packed[group + 1536 + scale * ROWS + row] = rows[block + 192 + (half & 1) * 8 + scale];
        }
        packed.set(rows.subarray(block + 208, block + 210), group + 1664 + row * 2);
      }
    }
    return packed;
  },
};

/** The tiles that a table with rows of `cols` values is packed in for a GPU's head; none for one that is kept as it is. */
export function headTiles(encoding: Encoding, cols: number): HeadTiles | undefined {
  if (cols % COLUMNS !== 0) return undefined;
  switch (encoding) {
    case 'f16':
      return f16;
    case 'q8_0':
      return q8_0;
    case 'q6_k':
      return q6_k;
    default:
      return undefined;
  }
}

/** Bytes of a table in tiles. */
export const tiledBytes = ({ groupBytes }: HeadTiles, rows: number, cols: number): number =>
  Math.ceil(rows / ROWS) * (cols / COLUMNS) * groupBytes;
