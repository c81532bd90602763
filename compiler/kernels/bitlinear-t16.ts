import { pad16 } from '../ir/plan.ts';
import { groupBytes, type Layout, packedBytes } from './layout.ts';
import { formatName, type Tile } from './name.ts';
import { type KernelSpec, refusal } from './spec.ts';

/** Columns of a tile: K is padded to whole ones. */
export const TILE_COLUMNS = 128;

/**
 * Two bits a weight, code = weight + 1, as GPUs read them. A tile is 16 rows x 128 columns in 512 bytes, of which lane
 * 4g + c of a warp owns sixteen, words 0 to 3: byte b of word i holds row g + 8 (i & 1), column 32 j + 16 (i >> 1) + 4 c + b
 * at bits 2j and 2j + 1. For each j the four words are an A fragment of mma.m16n8k32 and of wgmma.m64nNk32, so one wide load
 * feeds four products. Scales go with half groups, as the rows of gate and up are woven together by eights.
 */
export const t16: Layout = {
  id: 't16_r16c128',
  columns: TILE_COLUMNS,
  blockBytes: 512,
  scaleRows: 8,
  pack,
  unpackGroup,
};

function pack(codes: Uint8Array, rows: number, cols: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(packedBytes(t16, rows, cols)).fill(0x55);
  const row = new Uint8Array(Math.ceil(cols / TILE_COLUMNS) * TILE_COLUMNS).fill(1);
  for (let r = 0; r < rows; r++) {
    row.set(codes.subarray(r * cols, (r + 1) * cols));
    // Of each tile's bytes, the first that holds codes of this row: lane 4 (r & 7), word (r >> 3) & 1.
    let tile = (r >> 4) * groupBytes(t16, cols) + (r & 7) * 64 + ((r >> 3) & 1) * 4;
    for (let column = 0; column < row.length; column += TILE_COLUMNS, tile += 512) {
      for (let k = 0; k < 32; k++) {
        const from = column + k;
        const at = tile + ((k >> 2) & 3) * 16 + (k >> 4) * 8 + (k & 3);
        packed[at] = row[from] | (row[from + 32] << 2) | (row[from + 64] << 4) | (row[from + 96] << 6);
      }
    }
  }
  return packed;
}

function unpackGroup(packed: Uint8Array, cols: number): Uint8Array {
  const codes = new Uint8Array(16 * cols);
  for (let r = 0; r < 16; r++) {
    for (let k = 0; k < cols; k++) {
      const [g, c, b, j] = [r & 7, (k >> 2) & 3, k & 3, (k >> 5) & 3];
      const word = (r >> 3) + 2 * ((k >> 4) & 1);
      const byte = packed[(k >> 7) * 512 + (4 * g + c) * 16 + word * 4 + b];
      codes[r * cols + k] = (byte >> (2 * j)) & 3;
    }
  }
  return codes;
}

/** The ternary kernels of one matrix on a GPU: which is taken depends on how many tokens a step has. */
export interface GpuKernels {
  /** One token. */
  readonly gemv: KernelSpec;
  /** Up to 16, and up to 64. */
  readonly few: KernelSpec;
  readonly skinny: KernelSpec;
  /** Any number: on GPUs from sm_80, and on sm_90. */
  readonly mma: KernelSpec;
  readonly wgmma: KernelSpec;
}

/** The sums of a GEMV are up to 64 times too large before they are shifted down. */
const INT32_PER_COLUMN = 64 * 2 * 128;

/** Thread blocks that run at once on an H200, one each of the larger tiles. */
export const MULTIPROCESSORS = 132;

/**
 * Tokens of a wgmma tile: 256 where that fills the machine as well as 128 does, as it reads the weights half as often.
 * Waves are counted for 2048 tokens.
 */
export function wgmmaTokens(m: number): 128 | 256 {
  const waves = (tokens: number) => Math.ceil((Math.ceil(m / 128) * (2048 / tokens)) / MULTIPROCESSORS) * tokens;
  return waves(256) <= waves(128) ? 256 : 128;
}

/** The kernels for a matrix of m x k. Throws UnsupportedSpecError where sums could overflow. */
export function gpuKernels(m: number, k: number, target: string): GpuKernels {
  const columns = pad16(k);
  const spec = (family: string, tile: Tile): KernelSpec => {
    if (INT32_PER_COLUMN * columns > 2 ** 31 - 1) throw refusal(family, { m, k }, tile, 'k can overflow an int32 sum');
    return { name: formatName({ family, m, k, tile, target }), family, m, k, tile, reason: 'heuristic' };
  };
  return {
    gemv: spec('bitlinear_t16_gemv', { rows: 16, columns, tokens: 1 }),
    few: spec('bitlinear_t16_skinny', { rows: 16, columns, tokens: 16 }),
    skinny: spec('bitlinear_t16_skinny', { rows: 16, columns, tokens: 64 }),
    mma: spec('bitlinear_t16_mma', { rows: 128, columns, tokens: 128 }),
    wgmma: spec('bitlinear_t16_wgmma', { rows: 128, columns, tokens: wgmmaTokens(m) }),
  };
}
