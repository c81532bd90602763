import type { CpuTarget } from '../../targets/target.ts';
import { pad16 } from '../ir/plan.ts';
import { blocksOf, type Layout } from './layout.ts';
import type { Tile } from './name.ts';
import { type KernelFamily, type KernelShape, refusal } from './spec.ts';

/** What a running int16 pair sum may grow to: 2 products of code <= 2 and |q| <= 128 for each column quad. */
const INT16_PER_QUAD = 2 * 2 * 128;
/** What one column adds to an int32 sum at most: code <= 2 times |q| <= 128. */
const INT32_PER_COLUMN = 2 * 128;

/** Columns that a running sum takes before it is widened: all of them, where nothing needs widening. */
export function defaultColumns({ k }: KernelShape, target: CpuTarget): number {
  return target.sumBits === 16 ? Math.min(240, pad16(k)) : pad16(k);
}

/** Columns before a running sum is widened that are worth trying: the most that there may be, and about half of them. */
export function columnsToTry(shape: KernelShape, target: CpuTarget): number[] {
  const most = defaultColumns(shape, target);
  return target.sumBits === 16 && most > 128 ? [most, 128] : [most];
}

const ROWS = [16, 32, 48, 64, 96, 128];
const TOKENS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24];

/**
 * Y = W Q for many tokens, whatever the weights' layout: each tile of rows is unpacked once, to a panel of one byte a
 * code that the caches hold while all tokens are multiplied with it.
 */
export function panelGemm(id: string, layout: Layout): KernelFamily {
  return {
    id,
    takes: 'many',
    layout: layout.id,
    check(shape, tile, target) {
      const why = reasonAgainst(shape, tile, target);
      if (why) throw refusal(id, shape, tile, why);
    },
    defaultTile: (shape, target) => ({
      rows: target.gemm.rows,
      columns: defaultColumns(shape, target),
      tokens: target.gemm.tokens,
    }),
    tiles: (shape, target) =>
      ROWS.flatMap((rows) =>
        columnsToTry(shape, target).flatMap((columns) => TOKENS.map((tokens) => ({ rows, columns, tokens }))),
      ),
    scratchBytes: ({ k }, tile) => tile.rows * Math.max(blocksOf(layout, k) * layout.columns, pad16(k)),
  };
}

function reasonAgainst({ m, k }: KernelShape, tile: Tile, target: CpuTarget): string | undefined {
  if (m % 16 !== 0) return 'm must be a multiple of 16 (whole row groups)';
  if (tile.rows < 16 || tile.rows % 16 !== 0) return 'rows of a tile must be a multiple of 16 (whole row groups)';
  if (tile.columns < 16 || tile.columns % 16 !== 0) return 'columns of a tile must be a multiple of 16 (whole blocks)';
  if (tile.tokens < 1) return 'tokens of a tile must be at least 1';
  if (target.sumBits === 16 && (INT16_PER_QUAD * tile.columns) / 4 > 32767) {
    return `${tile.columns} columns can overflow an int16 running sum; 240 are the most`;
  }
  if (INT32_PER_COLUMN * pad16(k) > 2 ** 31 - 1) return 'k can overflow an int32 sum';
  return undefined;
}
