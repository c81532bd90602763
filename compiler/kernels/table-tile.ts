import { BitnetError } from '../../errors.ts';
import type { TableTile } from '../ir/model.ts';
import { pad16 } from '../ir/plan.ts';
import type { KernelConfig, KernelSection } from './config.ts';
import type { Layout } from './layout.ts';

/** 128 a column at most keeps an int16 sum of so many columns exact. */
export const MOST_COLUMNS = Math.floor(32767 / 128);
/** Rows whose running sums can be in registers. */
export const MOST_HELD = 128;

/** Default tiles are no larger than these. */
const DEFAULT_ROWS = 256;
const DEFAULT_HELD = 32;

const multiples = (unit: number, most: number): number[] =>
  Array.from({ length: Math.floor(most / unit) }, (_, i) => (i + 1) * unit);

/**
 * Whether chunks must make up all of K, as bitnet.cpp has it for TL1. Of TL2 it asks that BK be a multiple of 6 and that
 * K mod BK be one of 32, which whole blocks of 96 columns give where K is.
 */
const dividesK = ({ id }: Layout): boolean => id.startsWith('tl1');
const paddedK = ({ columns }: Layout, k: number): number => Math.ceil(k / columns) * columns;

/** The chunks of columns that suit a layout and K. */
function chunksOf(layout: Layout, k: number): number[] {
  const all = multiples(layout.columns, MOST_COLUMNS);
  return dividesK(layout) ? all.filter((chunk) => paddedK(layout, k) % chunk === 0) : all;
}

/**
 * The tile of look-ups to use where nobody asked for one: the same on every target, so that one .ini can say it. `rows` are those of
 * all matrices that should have a tile in common.
 */
export function defaultTableTile(layout: Layout, rows: readonly number[], k: number): TableTile {
  const fits = (size: number) => rows.every((m) => pad16(m) % size === 0);
  const powers = (most: number) => [16, 32, 64, 128, 256].filter((size) => size <= most && fits(size));
  return { BM: powers(DEFAULT_ROWS).at(-1)!, BK: chunksOf(layout, k).at(-1)!, bm: powers(DEFAULT_HELD).at(-1)! };
}

/** Rows that a chunk of tables may serve and that are worth trying, as multiples of those in registers. */
const SERVED = [1, 2, 4, 8, 16, 32];
const MOST_SERVED = 1024;

/** Tiles of look-ups that a .ini could ask for, and that are worth trying. */
export function tableTiles(layout: Layout, m: number, k: number): TableTile[] {
  const divides = (size: number) => pad16(m) % size === 0;
  return [16, 32, 64, 128].filter(divides).flatMap((bm) =>
    SERVED.map((times) => bm * times)
      .filter((BM) => BM <= MOST_SERVED && divides(BM))
      .flatMap((BM) => chunksOf(layout, k).map((BK) => ({ BM, BK, bm }))),
  );
}

export const sameTile = (a: TableTile, b: TableTile): boolean => a.BM === b.BM && a.BK === b.BK && a.bm === b.bm;

/** What one number of a section must be, and the values that are. */
interface Constraint {
  readonly key: 'BM' | 'BK' | 'bm';
  readonly must: string;
  readonly values: readonly number[];
}

/** `m = 100 rounded up to 112`, or as it is where nothing is added. */
const sizeText = (name: string, size: number, padded: number): string =>
  size === padded ? `${name} = ${size}` : `${name} = ${size} rounded up to ${padded}`;

function constraintsOn({ m, k, bm }: KernelSection, layout: Layout): Constraint[] {
  const rows = pad16(m);
  const held = multiples(16, MOST_HELD).filter((size) => rows % size === 0);
  const tiles = multiples(bm, rows).filter((size) => rows % size === 0);
  const wholeK = dividesK(layout) ? ` that divides ${sizeText('k', k, paddedK(layout, k))}` : '';
  const bound = `${MOST_COLUMNS} at most, for int16 sums to hold: 128 · BK ≤ 32767`;
  const ofRows = `divides ${sizeText('m', m, rows)}`;
  return [
    { key: 'bm', must: `be a multiple of 16 that ${ofRows}, ${MOST_HELD} at most`, values: held },
    { key: 'BM', must: `be a multiple of bm = ${bm} that ${ofRows}`, values: tiles },
    { key: 'BK', must: `be a multiple of ${layout.columns}${wholeK}, ${bound}`, values: chunksOf(layout, k) },
  ];
}

/** Why a section cannot be the tile of kernels of a layout, with its place in the file; undefined where it can. */
export function misfit(config: KernelConfig, section: KernelSection, layout: Layout): BitnetError | undefined {
  for (const { key, must, values } of constraintsOn(section, layout)) {
    const value = section[key];
    if (values.includes(value)) continue;
    const below = values.filter((candidate) => candidate < value).sort((a, b) => b - a)[0];
    const above = values.filter((candidate) => candidate > value).sort((a, b) => a - b)[0];
    const nearest = [below, above].filter((candidate) => candidate !== undefined);
    const place = `${config.file}:${section.lines?.[key] ?? section.line}`;
    const kernel = layout.id.split('_')[0];
    return new BitnetError(`${place}: ${key} of [${section.name}] is ${value}; for ${kernel} it must ${must}`, {
      hint: `the nearest ${nearest.length === 1 ? 'value that fits is' : 'values that fit are'} ${nearest.join(' and ')}`,
    });
  }
  return undefined;
}
