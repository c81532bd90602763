import { pad16 } from '../ir/plan.ts';
import { groupBytes, type Layout, packedBytes } from './layout.ts';
import { formatName, type Tile } from './name.ts';
import { type KernelShape, type KernelSpec, refusal } from './spec.ts';

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

/** Steps that a kernel of a GPU is for, by how many tokens they have. */
export type GpuClass = 'one' | 'few' | 'some' | 'many';

export const GPU_CLASSES: readonly GpuClass[] = ['one', 'few', 'some', 'many'];

/** The most tokens of each: as many as one step takes at all, of the last. */
export const GPU_TOKENS: Readonly<Record<GpuClass, number>> = { one: 1, few: 16, some: 64, many: 2048 };

/** The ternary kernels of one matrix on a GPU: which is taken depends on how many tokens a step has. */
export interface GpuKernels extends Readonly<Record<GpuClass, KernelSpec>> {
  /** Those where there is no wgmma: on GPUs other than sm_90. */
  readonly plain: Readonly<Record<'some' | 'many', KernelSpec>>;
}

/** A family of a GPU's ternary kernels, and its tile. */
export interface GpuTile {
  readonly family: string;
  readonly tile: Tile;
}

export const GEMV = 'bitlinear_t16_gemv';
export const SKINNY = 'bitlinear_t16_skinny';
export const MMA = 'bitlinear_t16_mma';
export const WGMMA = 'bitlinear_t16_wgmma';

/** The sums of a GEMV are up to 64 times too large before they are shifted down. */
const INT32_PER_COLUMN = 64 * 2 * 128;

/** Thread blocks that run at once on an H200, one each of the larger tiles. */
export const MULTIPROCESSORS = 132;

/** Row blocks that a thread block of a GEMV has at most: decode.cuh. */
const GEMV_BLOCKS = 16;

/** Row blocks that a thread block of wgmma or mma has, and warps that multiply them. */
const GEMM_BLOCKS = 8;

/**
 * Tokens of a wgmma tile: 256 where that fills the machine as well as 128 does, as it reads the weights half as often.
 * Waves are counted for 2048 tokens.
 */
export function wgmmaTokens(m: number): 128 | 256 {
  const waves = (tokens: number) => Math.ceil((Math.ceil(m / 128) * (2048 / tokens)) / MULTIPROCESSORS) * tokens;
  return waves(256) <= waves(128) ? 256 : 128;
}

export const gemvTile = (k: number, warps: number, split: number, stages: number): GpuTile => ({
  family: GEMV,
  tile: { rows: 16, columns: pad16(k), tokens: 1, block: { warps, split, stages } },
});

export const skinnyTile = (k: number, tokens: 16 | 64, blocks: number, block: NonNullable<Tile['block']>): GpuTile => ({
  family: SKINNY,
  tile: { rows: 16 * blocks, columns: pad16(k), tokens, block },
});

export const gemmTile = (family: string, k: number, tokens: number, stages: number): GpuTile => ({
  family,
  tile: { rows: 16 * GEMM_BLOCKS, columns: pad16(k), tokens, block: { warps: GEMM_BLOCKS, split: 1, stages } },
});

/**
 * The tile of one token. A thread block's row blocks are computed all at once, each by as many warps as that leaves it, but
 * by more than four only where each of them has four tiles. Beyond 64 tiles 16 warps are better: on an H200 13824 x 2560
 * (7 row blocks of 20 tiles) takes 3.6 µs instead of 5.4, 2560 x 6912 (2 of 54) 3.7 instead of 4.1, and the whole
 * 2B-4T decodes 1,490 tokens/s instead of 1,457. Where warps have few tiles each, five are on their way at once: a launch
 * begins to fetch before the one ahead of it has ended, and steps take 5% less than with three, which alone are as fast.
 */
function defaultGemv({ m, k }: KernelShape): GpuTile {
  const blocks = Math.min(GEMV_BLOCKS, Math.ceil(m / 16 / MULTIPROCESSORS));
  const tiles = Math.ceil(k / TILE_COLUMNS);
  const warps = blocks * tiles > 64 ? 16 : 8;
  const split = 2 ** Math.floor(Math.log2(Math.min(warps / blocks, Math.max(4, tiles / 4))));
  return gemvTile(k, warps, Math.max(1, split), warps === 16 ? 2 : 5);
}

/**
 * Whether a matrix has rows enough for 128 of them in a thread block: then those are half the machine's and more. On an H200
 * 64 tokens of 13824 x 2560 take 9.3 µs on wgmma and 15.5 without, but of 3840 x 2560 8.3 and 6.4, of 2560 x 6912 28.7 and 10.5.
 */
const isTall = (m: number): boolean => m >= 8192;

/** A few tokens: thread blocks enough to fill the machine, which read the activations as seldom as may be. */
function defaultSkinny({ m, k }: KernelShape, tokens: 16 | 64): GpuTile {
  const blocks = m % 64 === 0 && isTall(m) ? 4 : m % 32 === 0 ? 2 : 1;
  return skinnyTile(k, tokens, blocks, { warps: tokens === 64 && blocks === 4 ? 4 : 8, split: 1, stages: 3 });
}

/** The tile that a matrix of m x k has where nothing is known of it, on GPUs that have wgmma or on others. */
export function defaultGpuTile(takes: GpuClass, shape: KernelShape, wgmma = true): GpuTile {
  const { m, k } = shape;
  switch (takes) {
    case 'one':
      return defaultGemv(shape);
    case 'few':
      return defaultSkinny(shape, 16);
    case 'some':
      return wgmma && isTall(m) ? gemmTile(WGMMA, k, 64, 4) : defaultSkinny(shape, 64);
    case 'many':
      return wgmma ? gemmTile(WGMMA, k, wgmmaTokens(m), 4) : gemmTile(MMA, k, 128, 5);
  }
}

/** The kernel of that tile. Throws UnsupportedSpecError where sums could overflow. */
export function gpuKernel({ m, k }: KernelShape, { family, tile }: GpuTile, reason = 'heuristic'): KernelSpec {
  if (INT32_PER_COLUMN * pad16(k) > 2 ** 31 - 1) throw refusal(family, { m, k }, tile, 'k can overflow an int32 sum');
  return { name: formatName({ family, m, k, tile, target: 'cuda' }), family, m, k, tile, reason };
}

/** The kernels for a matrix of m x k: those that are given, and the default ones. Throws as gpuKernel does. */
export function gpuKernels(
  m: number,
  k: number,
  given: Partial<Record<GpuClass, GpuTile & { readonly reason: string }>> = {},
): GpuKernels {
  const kernel = (takes: GpuClass): KernelSpec => {
    const { reason, ...tile } = given[takes] ?? { ...defaultGpuTile(takes, { m, k }), reason: undefined };
    return gpuKernel({ m, k }, tile, reason);
  };
  const all = { one: kernel('one'), few: kernel('few'), some: kernel('some'), many: kernel('many') };
  const plain = (takes: 'some' | 'many') =>
    all[takes].family === WGMMA ? gpuKernel({ m, k }, defaultGpuTile(takes, { m, k }, false)) : all[takes];
  return { ...all, plain: { some: plain('some'), many: plain('many') } };
}
