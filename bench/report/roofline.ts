import { number } from '../../cli/format.ts';
import type { Estimate } from '../../statistics.ts';
import { element, type Markup } from './markup.ts';
import { logScale, tickText } from './scale.ts';

export interface RooflinePoint {
  readonly label: string;
  /** Multiply-accumulates for each byte that is read. */
  readonly intensity: number;
  /** 10^9 multiply-accumulates a second. */
  readonly rate: Estimate;
  /** Which of the page's colours, from 0. */
  readonly series?: number;
}

export interface Roof {
  /** 10^9 bytes a second. */
  readonly readGBps: number;
  /** 10^9 multiply-accumulates a second. */
  readonly int8GMACps: number;
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

const WIDTH = 760;
const HEIGHT = 420;
const FRAME = { left: 60, right: 20, top: 16, bottom: 44 };
const LINE = 14;
const LETTER = 6.6;

/** What runs at which speed, under the two limits of the machine: reading memory, and arithmetic. */
export function rooflinePlot(points: readonly RooflinePoint[], { readGBps, int8GMACps }: Roof): Markup {
  const ridge = int8GMACps / readGBps;
  const intensities = points.map(({ intensity }) => intensity);
  const [least, most] = [Math.min(ridge, ...intensities) / 2, Math.max(ridge, ...intensities) * 4];
  const slowest = Math.min(...points.map(({ rate }) => rate.low), least * readGBps);
  // Above the limits lies what was measured while something else did not slow the machine.
  const fastest = Math.max(...points.map(({ rate }) => rate.high), int8GMACps);
  const x = logScale(least, most, FRAME.left, WIDTH - FRAME.right);
  const y = logScale(slowest / 1.3, fastest * 1.6, HEIGHT - FRAME.bottom, FRAME.top);
  const roof = [
    [least, least * readGBps],
    [ridge, int8GMACps],
    [most, int8GMACps],
  ].map(([intensity, rate]) => `${x.at(intensity!).toFixed(1)},${y.at(rate!).toFixed(1)}`);
  const taken: Box[] = [];
  return element(
    'svg',
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': 'roofline' },
    x.ticks.map((tick) => [
      element('line', { class: 'grid', x1: x.at(tick), x2: x.at(tick), y1: FRAME.top, y2: HEIGHT - FRAME.bottom }),
      element('text', { class: 'tick', x: x.at(tick), y: HEIGHT - 28, 'text-anchor': 'middle' }, tickText(tick)),
    ]),
    y.ticks.map((tick) => [
      element('line', { class: 'grid', x1: FRAME.left, x2: WIDTH - FRAME.right, y1: y.at(tick), y2: y.at(tick) }),
      element('text', { class: 'tick', x: FRAME.left - 8, y: y.at(tick) + 4, 'text-anchor': 'end' }, tickText(tick)),
    ]),
    element(
      'text',
      { class: 'axis', x: (WIDTH + FRAME.left) / 2, y: HEIGHT - 8, 'text-anchor': 'middle' },
      'multiply-accumulates for each byte read',
    ),
    element('text', { class: 'axis', x: FRAME.left + 8, y: FRAME.top + 12 }, 'G multiply-accumulates a second'),
    element('polyline', { class: 'roof', points: roof.join(' ') }),
    note(
      `int8 peak: ${number(int8GMACps)} GMAC/s`,
      { x: WIDTH - FRAME.right - 4, y: y.at(int8GMACps) - 8 },
      'end',
      taken,
    ),
    note(`reading: ${number(readGBps)} GB/s`, { x: x.at(least) + 10, y: y.at(least * readGBps) - 14 }, 'start', taken),
    points.map((point) => drawPoint(point, x.at(point.intensity), y.at, taken)),
  );
}

function drawPoint(
  { label, intensity, rate, series = 0 }: RooflinePoint,
  x: number,
  y: (rate: number) => number,
  taken: Box[],
): Markup {
  const text = place({ x: x + 9, y: y(rate.median) + 4, width: label.length * LETTER }, taken);
  return element(
    'g',
    {},
    element('title', {}, `${label}: ${number(rate.median)} GMAC/s at ${number(intensity)} MAC/byte`),
    element('g', { class: 'whisker' }, element('line', { x1: x, x2: x, y1: y(rate.low), y2: y(rate.high) })),
    element('circle', { class: `fill s${series}`, cx: x, cy: y(rate.median), r: 4.5 }),
    element('text', { class: 'label', x: text.x, y: text.y }, label),
  );
}

function note(text: string, { x, y }: Pick<Box, 'x' | 'y'>, anchor: 'start' | 'end', taken: Box[]): Markup {
  const width = text.length * LETTER;
  taken.push({ x: anchor === 'end' ? x - width : x, y, width });
  return element('text', { class: 'note', x, y, 'text-anchor': anchor }, text);
}

/** Moves a label down, or to the left of its point where it would leave the page, until it covers no other. */
function place(wanted: Box, taken: Box[]): Box {
  let box = wanted.x + wanted.width > WIDTH ? { ...wanted, x: wanted.x - wanted.width - 18 } : wanted;
  const covers = (other: Box) =>
    Math.abs(other.y - box.y) < LINE - 1 && other.x < box.x + box.width && box.x < other.x + other.width;
  while (taken.some(covers)) box = { ...box, y: box.y + 2 };
  taken.push(box);
  return box;
}
