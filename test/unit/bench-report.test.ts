import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { barChart } from '../../bench/report/bars.ts';
import { benchPage, restOf } from '../../bench/report/bench-page.ts';
import { compareReports } from '../../bench/report/compare.ts';
import { element, escapeText } from '../../bench/report/markup.ts';
import { readReport, rowName } from '../../bench/report/result.ts';
import { rooflinePlot } from '../../bench/report/roofline.ts';
import { linearScale, logScale } from '../../bench/report/scale.ts';
import { estimate } from '../../statistics.ts';
import { benchReport, benchRow } from '../support/bench-report.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('bench-report');

/** The names of elements in the order in which they end. Throws where one ends that has not begun, or never does. */
function elementsOf(markup: string): string[] {
  const open: string[] = [];
  const ended: string[] = [];
  const withoutDoctype = markup.replace('<!doctype html>', '').replace(/<style>[^<]*<\/style>/, '');
  for (const [tag, end, name, , closed] of withoutDoctype.matchAll(
    /<(\/?)([a-z][a-z\d]*)((?: [\w-]+="[^"<>]*")*)(\/?)>|[<>]/gi,
  )) {
    if (name === undefined) throw new Error(`a lone ${tag} at ${markup.slice(0, 200)}`);
    if (end) {
      if (open.pop() !== name) throw new Error(`</${name}> ends nothing`);
      ended.push(name);
    } else if (closed) ended.push(name);
    else open.push(name);
  }
  if (open.length > 0) throw new Error(`${open.join()} never ends`);
  if (/&(?!(amp|lt|gt|quot);)/.test(withoutDoctype)) throw new Error('a lone &');
  return ended;
}

const count = (names: readonly string[], wanted: string) => names.filter((name) => name === wanted).length;

test('escapes text and attributes', () => {
  const { text } = element('p', { title: '"><script>' }, '<b>&', ['a', 1], undefined, element('br', {}));
  assert.is(text, '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;a1<br/></p>');
  assert.is(escapeText('a\u0000\u001b[2J\ud800b\nc'), 'a[2Jb\nc');
  assert.is(element('rect', { x: 1 / 3, y: undefined }).text, '<rect x="0.33"/>');
});

test('linear scales mark 1, 2 or 5 times a power of ten, and hold the largest value', () => {
  assert.equal(linearScale(23, 0, 100).ticks, [0, 5, 10, 15, 20, 25]);
  assert.is(linearScale(23, 0, 100).at(25), 100);
  assert.equal(linearScale(1000, 0, 1).ticks, [0, 200, 400, 600, 800, 1000]);
  assert.is(linearScale(0, 10, 20).at(0), 10);
  for (const most of [1e-9, 0.31, 7, 99.9, 12345]) {
    const { ticks, at } = linearScale(most, 0, 1);
    assert.ok(ticks.length >= 4 && ticks.length <= 7, String(ticks));
    assert.ok(at(most) <= 1 + 1e-9);
  }
});

test('logarithmic scales', () => {
  const scale = logScale(1, 1000, 0, 300);
  assert.ok(Math.abs(scale.at(10) - 100) < 1e-9);
  assert.equal(scale.ticks, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  assert.equal(logScale(0.5, 20000, 0, 1).ticks, [1, 10, 100, 1000, 10000]);
});

test('bars are as long as their medians, and whiskers as their intervals', () => {
  const value = { median: 50, low: 25, high: 100, confidence: 0.97 };
  const { text } = barChart([{ label: 'a <b>', value, note: '"x"' }], 'tokens/s');
  const number = (pattern: RegExp) => pattern.exec(text)!.slice(1).map(Number);
  const [left, width] = number(/<rect class="fill s0" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/);
  const [from, to] = number(/class="whisker"><line x1="([\d.]+)" x2="([\d.]+)"/);
  assert.is(from! - left!, width! / 2);
  assert.is(to! - left!, width! * 2);
  assert.match(text, 'a &lt;b&gt;');
  elementsOf(text);
});

test('points of a roofline lie under the roof where they are slower', () => {
  const rate = estimate([50]);
  const { text } = rooflinePlot([{ label: 'x', intensity: 10, rate }], { readGBps: 10, int8GMACps: 1000 });
  const [cx, cy] = /cx="([\d.]+)" cy="([\d.]+)"/.exec(text)!.slice(1).map(Number);
  const roof = /points="([^"]+)"/
    .exec(text)![1]!
    .split(' ')
    .map((pair) => pair.split(',').map(Number));
  const [[x0, y0], [x1, y1], [, y2]] = roof as [number[], number[], number[]];
  assert.is(y1, y2);
  const above = y0! + ((cx! - x0!) / (x1! - x0!)) * (y1! - y0!);
  // Half of what the bandwidth allows: y grows downwards.
  assert.ok(cy! > above + 5, `${cy} ${above}`);
  elementsOf(text);
});

test('points of a roofline above the roof are in the plot', () => {
  const { text } = rooflinePlot([{ label: 'x', intensity: 10, rate: estimate([9000, 10000, 11000]) }], {
    readGBps: 10,
    int8GMACps: 100,
  });
  const heights = [...text.matchAll(/ (?:cy|y1|y2)="([^"]*)"/g)].map(([, y]) => Number(y));
  assert.ok(heights.length > 0 && heights.every((y) => y >= 0 && y <= 420), String(heights));
});

test('labels of a roofline do not cover each other', () => {
  const points = Array.from({ length: 12 }, (_, i) => ({ label: `point ${i}`, intensity: 5, rate: estimate([20]) }));
  const { text } = rooflinePlot(points, { readGBps: 10, int8GMACps: 100 });
  const heights = [...text.matchAll(/class="label" x="[\d.]+" y="([\d.]+)"/g)].map(([, y]) => Number(y));
  heights.sort((a, b) => a - b);
  for (let i = 1; i < heights.length; i++) assert.ok(heights[i]! - heights[i - 1]! >= 12);
});

test('a page is well-formed, names nothing outside itself, and escapes what files say', () => {
  const hostile = benchReport({ model: '</title><script>alert("1")</script>', cpu: 'A&B <i>', date: '"\u0007' });
  for (const html of [benchPage(hostile), benchPage(hostile, benchReport({}))]) {
    const names = elementsOf(html);
    assert.is(count(names, 'script'), 0);
    assert.is(count(names, 'svg'), html.includes('The second over the first') ? 4 : 3);
    assert.not.match(html, /https?:|url\(|@import|src=/);
    assert.match(html, 'A&amp;B &lt;i&gt;');
    assert.match(html, 'prefers-color-scheme: dark');
    assert.not.match(html, 'NaN');
    assert.not.match(html, 'Infinity');
  }
});

test('a comparison divides rows of the same name, and says what is clear', () => {
  const row = (tokens: number, speeds: number[]) => benchRow({ tokens, tokensPerSecond: estimate(speeds) });
  const a = benchReport({
    rows: [row(1, [10, 11, 12, 11]), row(2, [10, 10, 10, 10]), row(3, [5, 6, 7, 8]), row(4, [1])],
  });
  const b = benchReport({ rows: [row(3, [5, 6, 7, 9]), row(1, [22, 22, 22, 24]), row(2, [7, 8, 7, 8]), row(5, [1])] });
  const { rows, onlyA, onlyB } = compareReports(a, b);
  assert.equal(
    rows.map(({ name, verdict }) => [name, verdict]),
    [
      ['decode 1', 'faster'],
      ['decode 2', 'slower'],
      ['decode 3', 'not clear'],
    ],
  );
  assert.is(rows[0]!.speed.median, 2);
  assert.equal([rows[0]!.speed.low, rows[0]!.speed.high], [22 / 12, 24 / 10]);
  assert.equal([onlyA, onlyB], [['decode 4'], ['decode 5']]);
});

test('rows have names', () => {
  assert.is(rowName(benchRow({ kind: 'prefill', tokens: 512, context: 1024 })), 'prefill 512 after 1024');
  assert.is(rowName(benchRow({ sequences: 4 })), 'decode 128 × 4');
});

test('the rest of the memory', () => {
  const use = { weights: 100, kv: 50, workspace: 5, resident: 400, before: 200 };
  assert.is(restOf(use), 50);
  assert.is(restOf({ ...use, resident: 100 }), 0);
});

test('results are read as they were written', async () => {
  const file = join(folder, 'result.json');
  writeFileSync(file, JSON.stringify(benchReport({})));
  assert.equal(await readReport(file), benchReport({}));
});

const BAD: [string, string, RegExp][] = [
  ['no JSON', '{', /is no JSON/],
  ['another format', JSON.stringify({ ...benchReport({}), format: 2 }), /no result of a bench: format/],
  ['no rows', JSON.stringify(benchReport({ rows: [] })), /no result of a bench: rows/],
  ['null for a figure', JSON.stringify(benchReport({ openMs: estimate([Number.NaN]) })), /openMs\.median/],
];
for (const [what, content, message] of BAD) {
  test(`a file with ${what} is refused`, async () => {
    const file = join(folder, 'bad.json');
    writeFileSync(file, content);
    try {
      await readReport(file);
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, message);
    }
  });
}

test.run();
