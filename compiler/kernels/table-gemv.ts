import { blocksOf, type Layout } from './layout.ts';
import type { Tile } from './name.ts';
import { type KernelFamily, type KernelShape, refusal } from './spec.ts';
import { defaultTableTile, MOST_COLUMNS, MOST_HELD, tableTiles } from './table-tile.ts';

/**
 * y = W q for one token by looking up sums of several weights: tables for all columns are made from q first, and then
 * each tile of rows passes over them chunk by chunk. `tableBytes` are those of one block, on the target where it has most.
 */
export function tableGemv(id: string, layout: Layout, tableBytes: number): KernelFamily {
  return {
    id,
    takes: 'one',
    layout: layout.id,
    check(shape, tile) {
      const why = reasonAgainst(shape, tile, layout);
      if (why) throw refusal(id, shape, tile, why);
    },
    defaultTile({ m, k }) {
      const { BM, BK, bm } = defaultTableTile(layout, [m], k);
      return { rows: BM, columns: BK, held: bm, tokens: 1 };
    },
    tiles: ({ m, k }) =>
      tableTiles(layout, m, k).map(({ BM, BK, bm }) => ({ rows: BM, columns: BK, held: bm, tokens: 1 })),
    // Then an int32 sum for each row of a tile.
    scratchBytes: ({ k }, tile) => blocksOf(layout, k) * tableBytes + 4 * tile.rows,
  };
}

function reasonAgainst({ m, k }: KernelShape, { rows, columns, held = rows, tokens }: Tile, layout: Layout) {
  if (m % 16 !== 0) return 'm must be a multiple of 16 (whole row groups)';
  if (held < 16 || held % 16 !== 0) return 'rows in registers must be a multiple of 16 (whole row groups)';
  if (held > MOST_HELD) return `${held} rows do not fit in registers; ${MOST_HELD} are the most`;
  if (rows < held || rows % held !== 0) return 'rows of a tile must be a multiple of those in registers';
  if (columns < layout.columns || columns % layout.columns !== 0) {
    return `columns of a tile must be a multiple of ${layout.columns} (whole blocks)`;
  }
  if (columns > MOST_COLUMNS)
    return `${columns} columns can overflow an int16 running sum; ${MOST_COLUMNS} are the most`;
  if (tokens !== 1) return 'a GEMV takes one token';
  if (128 * k > 2 ** 31 - 1) return 'k can overflow an int32 sum';
  return undefined;
}
