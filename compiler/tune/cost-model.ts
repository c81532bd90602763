import type { Target } from '../../targets/target.ts';
import { pad16 } from '../ir/plan.ts';
import { layoutOf } from '../kernels/index.ts';
import { groupBytes } from '../kernels/layout.ts';
import type { KernelFamily, KernelSpec } from '../kernels/spec.ts';

/** What one call of a kernel is expected to do. The figures are for choosing what to measure, and for nothing else. */
export interface Cost {
  /** Bytes of packed weights that it reads. */
  readonly bytes: number;
  /** Multiply-accumulates that it stands for. */
  readonly macs: number;
  /** Vector registers that its innermost loop wants. */
  readonly registers: number;
  /** Bytes that its innermost loops go over again and again: a panel, or a chunk of tables. */
  readonly footprint: number;
  /** Cycles of one core, roughly. */
  readonly cycles: number;
}

/** Caches of a machine that does not say what it has. */
const CACHES = [32 << 10, 512 << 10];
/** Bytes that one core has from memory in a cycle. */
const BYTES_PER_CYCLE = 6;
/** A running sum that is not in a register is loaded and stored for each step. */
const SPILLED = 3;
/** What the second level delivers more slowly than the first, and memory than the second. */
const NEXT_LEVEL = 1.5;
/** Cycles until a sum can be added to again. */
const LATENCY = 4;
/** Registers beside sums and codes: an activation, a constant. */
const OTHERS = 2;

/**
 * What a kernel costs, from its tile alone:
 *
 * - memory: all bytes of the weights once, at a steady rate;
 * - arithmetic: a tile of g vectors of rows and t tokens does g·t operations a step and loads g vectors of codes and t
 *   activations, two loads a cycle; with few sums it waits for the one before;
 * - spilling, where sums, codes and activations are more than the registers;
 * - tokens that do not fill a tile go through narrower ones;
 * - a footprint beyond the first or the second cache makes the loads of codes or tables slower;
 * - what a tile does once: unpacking its panel, making and rereading its tables, widening its sums.
 *
 * Reading and computing overlap: the longer one counts, and a part of the other.
 */
export function costOf(family: KernelFamily, spec: KernelSpec, target: Target, tokens: number, caches = CACHES): Cost {
  const { m, k, tile } = spec;
  const layout = layoutOf(family.layout);
  const columns = pad16(k);
  const bytes = (m / 16) * groupBytes(layout, k);
  const macs = m * k * tokens;
  const [first, second] = caches.length > 1 ? caches : CACHES;

  const held = tile.held ?? tile.rows;
  // The vectors that have one int32 sum for each of 16 rows.
  const vectors = (held / 16) * (16 / target.lanes);
  const registers = vectors * tile.tokens + vectors + OTHERS;
  const footprint =
    tile.held === undefined
      ? family.takes === 'one'
        ? columns
        : family.scratchBytes(spec, tile)
      : family.scratchBytes(spec, tile) * Math.min(1, tile.columns / columns);

  const slow = footprint > second! ? NEXT_LEVEL ** 2 : footprint > first! ? NEXT_LEVEL : 1;
  const spilled = registers > target.registers ? SPILLED : 1;
  const step = (t: number) => Math.max(vectors * t * spilled, (vectors * slow + t) / 2, LATENCY) + 1;
  // Whole tiles of tokens, then what is left of them by four, and one by one.
  const left = tokens % tile.tokens;
  const fours = tile.tokens > 4 ? Math.floor(left / 4) : 0;
  const passes = Math.floor(tokens / tile.tokens) * step(tile.tokens) + fours * step(4) + (left - 4 * fours) * step(1);
  const inner = (m / held) * (columns / 4) * passes;
  const widened = (m / held) * Math.ceil(columns / tile.columns) * vectors * tokens * 4;
  const once = family.takes === 'one' ? 0 : (m * columns) / (4 * target.lanes);
  const tables = tile.held === undefined ? 0 : (m / tile.rows) * (family.scratchBytes(spec, tile) / 64);
  const computing = inner + widened + once + tables;
  const reading = bytes / BYTES_PER_CYCLE;
  return {
    bytes,
    macs,
    registers,
    footprint,
    cycles: Math.max(computing, reading) + Math.min(computing, reading) / 4,
  };
}
