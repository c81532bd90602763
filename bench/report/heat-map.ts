import { element, type Markup } from './markup.ts';

/** One square: where, how good (1 is the best), and what to say of it. */
export interface Cell {
  readonly x: number;
  readonly y: number;
  readonly value: number;
  readonly text: string;
  readonly title: string;
  readonly marked?: boolean;
}

const LEFT = 64;
const TOP = 26;
const WIDTH = 62;
const HEIGHT = 30;
const BOTTOM = 24;

const sorted = (values: readonly number[]): number[] => [...new Set(values)].sort((a, b) => a - b);

/** A square for each pair of sizes that was measured, the more filled the faster; the winner has a frame. */
export function heatMap(
  cells: readonly Cell[],
  { xAxis, yAxis }: { readonly xAxis: string; readonly yAxis: string },
): Markup {
  const columns = sorted(cells.map(({ x }) => x));
  const rows = sorted(cells.map(({ y }) => y));
  const width = LEFT + columns.length * WIDTH + 8;
  const height = TOP + rows.length * HEIGHT + BOTTOM;
  const left = (x: number) => LEFT + columns.indexOf(x) * WIDTH;
  const top = (y: number) => TOP + rows.indexOf(y) * HEIGHT;
  return element(
    'svg',
    { viewBox: `0 0 ${width} ${height}`, width, class: 'heat', role: 'img', 'aria-label': `${yAxis} against ${xAxis}` },
    element('text', { class: 'axis', x: LEFT - 8, y: TOP - 10, 'text-anchor': 'end' }, yAxis),
    element('text', { class: 'axis', x: LEFT, y: height - 6 }, xAxis),
    columns.map((x) =>
      element('text', { class: 'tick', x: left(x) + WIDTH / 2, y: TOP - 10, 'text-anchor': 'middle' }, x),
    ),
    rows.map((y) =>
      element('text', { class: 'tick', x: LEFT - 8, y: top(y) + HEIGHT / 2 + 4, 'text-anchor': 'end' }, y),
    ),
    cells.map(({ x, y, value, text, title, marked }) =>
      element(
        'g',
        {},
        element('title', {}, title),
        element('rect', {
          class: marked ? 'fill winner' : 'fill',
          style: `fill-opacity:${(0.08 + 0.82 * value ** 2).toFixed(2)}`,
          x: left(x) + 1.5,
          y: top(y) + 1.5,
          width: WIDTH - 3,
          height: HEIGHT - 3,
          rx: 3,
        }),
        element(
          'text',
          { class: 'label', x: left(x) + WIDTH / 2, y: top(y) + HEIGHT / 2 + 4, 'text-anchor': 'middle' },
          text,
        ),
      ),
    ),
  );
}
