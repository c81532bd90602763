import { type GpuTile, MULTIPROCESSORS, SKINNY, t16, WGMMA } from '../kernels/bitlinear-t16.ts';
import { sharedBytes, sumsHeld } from '../kernels/gpu-tiles.ts';
import { blocksOf, packedBytes } from '../kernels/layout.ts';
import type { KernelShape } from '../kernels/spec.ts';
import type { BatchClass } from './bed.ts';
import type { Cost } from './cost-model.ts';

/** Of an H200. The figures are for choosing what to measure, and for nothing else. */
const CLOCK = 1.9e9;
/** Bytes that a multiprocessor has from memory and from the second-level cache in a cycle. */
const MEMORY = 4.3e12 / CLOCK / MULTIPROCESSORS;
const CACHE = 5.5e12 / CLOCK / MULTIPROCESSORS;
/** Cycles until what was asked of shared memory is there and multiplied, and of one tile more. */
const LATENCY = 60;
const TILE = 24;
/** Shared memory of a multiprocessor, and its 32-bit registers. */
const SHARED = 227 << 10;
const REGISTERS = 64 << 10;
/** Cycles of an exchange between the thread blocks of a cluster. */
const EXCHANGE = 900;
/** int8 multiply-accumulates of a multiprocessor in a cycle, on tensor cores. */
const MACS = 4096;

/**
 * What a kernel of a GPU costs, from its tile alone. Of one token: how long the warps that share a row block take one batch
 * of tiles after the other, and the row blocks that they have. Of more: how often the thread blocks fill the machine, and
 * what each reads, its weights and all activations that it needs, or computes, whichever takes longer.
 */
export function gpuCost(takes: BatchClass, { m, k }: KernelShape, one: GpuTile, tokens: number): Cost {
  const { rows, tokens: width, block } = one.tile;
  const { warps, split, stages } = block!;
  const bytes = packedBytes(t16, m, k);
  const tiles = blocksOf(t16, k);
  const registers = sumsHeld(one) + 64;
  const cost = (cycles: number): Cost => ({
    bytes,
    macs: m * k * tokens,
    registers,
    footprint: sharedBytes(one),
    cycles,
  });
  if (takes === 'one') {
    const blocks = Math.ceil(m / 16 / MULTIPROCESSORS);
    const each = Math.ceil(tiles / split);
    const turns = Math.ceil(blocks / (warps / split));
    return cost(turns * (Math.ceil(each / stages) * LATENCY + each * TILE + 4 * split));
  }
  const teams = one.family === SKINNY ? split : 1;
  const columns = Math.ceil(tokens / width);
  const grid = Math.ceil(m / rows) * columns * teams;
  const threads = one.family === WGMMA ? 384 : 32 * warps;
  const together = Math.max(
    1,
    Math.min(Math.floor(SHARED / sharedBytes(one)), Math.floor(REGISTERS / (threads * registers)), 8),
  );
  const reads = (128 * tiles * (rows / 4 + width)) / teams;
  const computes = (rows * 128 * tiles * width) / teams / MACS;
  const waves = Math.ceil(grid / (MULTIPROCESSORS * together));
  const busy = Math.min(together, Math.ceil(grid / MULTIPROCESSORS));
  const rounds = Math.ceil(tiles / (one.family === SKINNY ? warps * teams : 1));
  // Copies that are under way hide each other's latency.
  const waiting = (rounds * 8 * LATENCY) / (stages * busy);
  const exchange = teams > 1 ? EXCHANGE : 0;
  return cost(waves * (Math.max((busy * reads) / CACHE, busy * computes, waiting, bytes / MEMORY / grid) + exchange));
}
