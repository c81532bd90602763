import {
  defaultGpuTile,
  GEMV,
  type GpuClass,
  type GpuTile,
  gemmTile,
  gemvTile,
  MMA,
  SKINNY,
  skinnyTile,
  TILE_COLUMNS,
  WGMMA,
} from './bitlinear-t16.ts';
import { formatTile } from './name.ts';
import { type KernelShape, refusal } from './spec.ts';

/** KiB of shared memory that a thread block may have, by ten times the compute capability. */
const SHARED: Readonly<Record<number, number>> = { 80: 163, 86: 99, 89: 99, 90: 227, 120: 99 };
/** Bytes of them that are kept for what kernels declare beside. */
const DECLARED = 2 << 10;

const isPower = (n: number): boolean => n >= 1 && (n & (n - 1)) === 0;

/** Bytes of shared memory that a thread block takes, of tiles where that depends on them. */
export function sharedBytes({ family, tile: { rows, tokens, block } }: GpuTile): number {
  const { warps, stages } = block!;
  if (family === SKINNY) return Math.max(warps * stages * tokens * TILE_COLUMNS, rows * (tokens + 1) * 4);
  return family === GEMV ? 0 : stages * tokens * TILE_COLUMNS + 1024;
}

/** int32 sums that a thread holds: registers. */
export function sumsHeld({ family, tile: { rows, tokens } }: GpuTile): number {
  return family === SKINNY ? ((rows / 16) * tokens) / 2 : family === GEMV ? 16 : tokens / 2;
}

function problem(takes: GpuClass, { m, k }: KernelShape, one: GpuTile, capability: number): string | undefined {
  const { rows, columns, tokens, block } = one.tile;
  // It can be had everywhere: its kernels have fewer warps where there is less shared memory.
  const standard = defaultGpuTile(takes, { m, k }, capability === 90);
  if (one.family === standard.family && formatTile(one.tile) === formatTile(standard.tile)) return undefined;
  const limit = (SHARED[capability] ?? 0) * 1024 - DECLARED;
  if (!block) return 'a tile of a GPU says how a thread block computes it';
  const { warps, split, stages } = block;
  if (columns < k || columns - k >= 16) return 'a tile has all columns';
  if (![warps, split, stages].every((n) => Number.isInteger(n) && n >= 1)) return 'warps, split and stages are counts';
  if (sharedBytes(one) > limit) return `it wants ${sharedBytes(one)} bytes of shared memory, there are ${limit}`;
  switch (one.family) {
    case GEMV:
      if (takes !== 'one' || tokens !== 1 || rows !== 16) return 'it is for one token and row blocks of 16';
      if (warps !== 8 && warps !== 16) return 'it has 8 or 16 warps';
      if (!isPower(split) || split > warps) return 'split must be a power of two and no more than the warps';
      // Two thread blocks share a multiprocessor's registers.
      if (stages > (warps === 16 ? 3 : 8)) return 'registers do not hold so many tiles';
      return undefined;
    case SKINNY:
      if (tokens !== (takes === 'few' ? 16 : takes === 'some' ? 64 : 0)) return 'it is for 16 or for 64 tokens';
      if (rows % 16 !== 0 || m % rows !== 0) return 'm must be a multiple of its rows';
      if (warps !== 4 && warps !== 8) return 'it has 4 or 8 warps';
      if (!isPower(split) || split > 8) return 'split must be 1, 2, 4 or 8';
      if (split > 1 && capability < 90) return 'clusters of thread blocks need sm_90';
      if (stages < 2 || stages > 6) return 'it has 2 to 6 stages';
      if (sumsHeld(one) > 128) return 'registers do not hold so many sums';
      return undefined;
    case WGMMA:
      if (capability !== 90) return 'wgmma needs sm_90';
      if (!(takes === 'some' ? [64] : takes === 'many' ? [128, 256] : []).includes(tokens)) {
        return 'it is for 64, 128 or 256 tokens';
      }
      if (rows !== 128 || warps !== 8 || split !== 1) return 'it has 128 rows and 8 warps';
      return stages < 2 || stages > 24 ? 'it has 2 to 24 stages' : undefined;
    case MMA:
      return 'it has one tile only';
    default:
      return 'there is no such family';
  }
}

/** Throws UnsupportedSpecError where a tile cannot be computed exactly by steps of a class on a GPU of that capability. */
export function checkGpuTile(takes: GpuClass, shape: KernelShape, one: GpuTile, capability: number): void {
  const why = problem(takes, shape, one, capability);
  if (why !== undefined) throw refusal(one.family, shape, one.tile, why);
}

/** Tiles that may be worth trying: all that checkGpuTile allows of these. */
export function gpuTiles(takes: GpuClass, shape: KernelShape, capability: number): GpuTile[] {
  const { k } = shape;
  const product = (...lists: readonly (readonly number[])[]): number[][] =>
    lists.reduce<number[][]>((all, list) => all.flatMap((one) => list.map((n) => [...one, n])), [[]]);
  const skinny = (tokens: 16 | 64) =>
    product([1, 2, 4], [4, 8], [1, 2, 4, 8], [2, 3, 4]).map(([blocks, warps, split, stages]) =>
      skinnyTile(k, tokens, blocks!, { warps: warps!, split: split!, stages: stages! }),
    );
  const wgmma = (tokens: number, stages: readonly number[]) => stages.map((n) => gemmTile(WGMMA, k, tokens, n));
  const all: Readonly<Record<GpuClass, () => GpuTile[]>> = {
    one: () =>
      product([8, 16], [2, 4, 8, 16], [2, 3, 5, 7]).map(([warps, split, stages]) =>
        gemvTile(k, warps!, split!, stages!),
      ),
    few: () => skinny(16),
    some: () => [...skinny(64), ...wgmma(64, [4, 8, 16])],
    many: () => [...wgmma(128, [4, 8, 12]), ...wgmma(256, [3, 4, 6])],
  };
  return all[takes]().filter((one) => problem(takes, shape, one, capability) === undefined);
}
