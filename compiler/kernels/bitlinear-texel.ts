import { TEXEL_COLUMNS } from '../../artifact/webgl.ts';
import { pad16 } from '../ir/plan.ts';
import { blocksOf, type Layout, packedBytes } from './layout.ts';
import { formatName, type Tile } from './name.ts';
import { type KernelShape, type KernelSpec, refusal } from './spec.ts';

/**
 * Two bits a weight, code = weight + 1, as textures of floats have them: row after row, each padded to whole texels of 32
 * columns in 8 bytes. A little-endian word of sixteen bits holds eight columns, the first in its lowest bits: a float32 is that
 * number exactly, and four of them are a texel.
 */
export const texel: Layout = { id: 'texel_r1c32', columns: TEXEL_COLUMNS, blockBytes: 128, pack, unpackGroup };

/** What one column adds to a sum at most: code <= 2 times |q| <= 128. Integers up to 2^24 are exact in float32. */
const PER_COLUMN = 2 * 128;
const EXACT = 2 ** 24;

/** A thread sums four rows: each value of the activations is read once for all of them. */
const TILE: Tile = { rows: 4, columns: TEXEL_COLUMNS, tokens: 1 };

const FAMILY = 'bitlinear_texel';

/** The kernel of a matrix of m x k. Throws UnsupportedSpecError where its sums, or its texels' numbers, are not exact in float32. */
export function texelKernel({ m, k }: KernelShape, target: string): KernelSpec {
  const columns = blocksOf(texel, k) * TEXEL_COLUMNS;
  if (PER_COLUMN * columns > EXACT) throw refusal(FAMILY, { m, k }, TILE, 'k can overflow the integers of a float32');
  if (pad16(m) * blocksOf(texel, k) > EXACT) throw refusal(FAMILY, { m, k }, TILE, 'it has more than 2^24 texels');
  const name = formatName({ family: FAMILY, m, k, tile: TILE, target });
  return { name, family: FAMILY, m, k, tile: TILE, reason: 'heuristic' };
}

/** Bytes of one packed row. */
const rowBytes = (cols: number): number => blocksOf(texel, cols) * 8;

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(texel, rows, cols)).fill(0x55);
  const row = new Uint8Array(blocksOf(texel, cols) * TEXEL_COLUMNS).fill(1);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    const at = r * rowBytes(cols);
    for (let byte = 0; byte < row.length / 4; byte++) {
      const first = 4 * byte;
      packed[at + byte] = row[first] | (row[first + 1] << 2) | (row[first + 2] << 4) | (row[first + 3] << 6);
    }
  }
  return packed;
}

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let c = 0; c < cols; c++) {
      codes[r * cols + c] = (packed[r * rowBytes(cols) + (c >> 2)] >> (2 * (c & 3))) & 3;
    }
  }
  return codes;
}
