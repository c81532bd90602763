import { number } from '../../cli/format.ts';
import type { Estimate } from '../../statistics.ts';
import { element, type Markup } from './markup.ts';
import { linearScale, tickText } from './scale.ts';

export interface Bar {
  readonly label: string;
  readonly value: Estimate;
  /** Which of the page's colours, from 0. */
  readonly series?: number;
  /** Beside the figure. */
  readonly note?: string;
}

const WIDTH = 760;
const LEFT = 210;
const RIGHT = 190;
const ROW = 26;
const AXIS = 22;

/** Bars to the right, each with the interval of its median. */
export function barChart(bars: readonly Bar[], unit: string): Markup {
  const height = bars.length * ROW + AXIS;
  const x = linearScale(Math.max(...bars.map(({ value }) => value.high)), LEFT, WIDTH - RIGHT);
  const grid = x.ticks.map((tick) => [
    element('line', { class: 'grid', x1: x.at(tick), x2: x.at(tick), y1: 0, y2: height - AXIS }),
    element('text', { class: 'tick', x: x.at(tick), y: height - 7, 'text-anchor': 'middle' }, tickText(tick)),
  ]);
  const rows = bars.map(({ label, value, series = 0, note = '' }, i) => {
    const { median, low, high } = value;
    const middle = i * ROW + ROW / 2;
    const cap = (at: number) => element('line', { x1: x.at(at), x2: x.at(at), y1: middle - 4, y2: middle + 4 });
    const shown = `${label}: ${number(median)} ${unit}, ${intervalText(value)}`;
    return element(
      'g',
      {},
      element('title', {}, shown),
      element('text', { class: 'label', x: LEFT - 10, y: middle + 4, 'text-anchor': 'end' }, label),
      element('rect', {
        class: `fill s${series}`,
        x: LEFT,
        y: middle - 8,
        width: x.at(median) - LEFT,
        height: 16,
        rx: 2,
      }),
      element(
        'g',
        { class: 'whisker' },
        element('line', { x1: x.at(low), x2: x.at(high), y1: middle, y2: middle }),
        cap(low),
        cap(high),
      ),
      element('text', { class: 'value', x: WIDTH - RIGHT + 12, y: middle + 4 }, `${number(median)} `, [
        element('tspan', { class: 'note' }, note),
      ]),
    );
  });
  return element('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img', 'aria-label': unit }, grid, rows);
}

/** `19.1 to 21.3 (97%)`, or nothing where one run says nothing of the others. */
export function intervalText({ low, high, confidence }: Estimate): string {
  return confidence === 0 ? '' : `${number(low)} to ${number(high)} (${(100 * confidence).toFixed(0)}%)`;
}
