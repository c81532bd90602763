import { number } from '../../cli/format.ts';
import type { Tuned, TunedShape } from '../../compiler/index.ts';
import type { Estimate } from '../../statistics.ts';
import { barChart, intervalText } from './bars.ts';
import { type Cell, heatMap } from './heat-map.ts';
import { element, type Markup } from './markup.ts';
import { htmlTable, page, type Section } from './page.ts';
import { rooflinePlot } from './roofline.ts';

type Candidate = TunedShape['candidates'][number];

type BatchClass = Candidate['takes'];
type Tile = Candidate['tile'];

/** Steps that kernels are for, in order of how many tokens they have. */
export const BATCH_CLASSES: readonly BatchClass[] = ['one', 'few', 'some', 'many'];

/** What a class is called in a table: of GPUs by its tokens. */
export function batchTitle({ shapes }: Tuned, takes: BatchClass): string {
  if (takes === 'one') return 'GEMV';
  const all = shapes.flatMap(({ candidates }) => candidates);
  const isGpu = all.some(({ tile }) => tile.block);
  return isGpu ? `GEMM, ${all.find((one) => one.takes === takes)?.tokens} tokens` : 'GEMM';
}

/** A tile in words: of a GPU, how a thread block computes it, too. */
export function tileText({ rows, columns, held, tokens, block }: Tile): string {
  const sizes = [rows, columns, ...(held === undefined ? [] : [held]), tokens].join(' × ');
  return block ? `${sizes}, ${block.warps} warps, split ${block.split}, ${block.stages} stages` : sizes;
}

/** What it was measured on. */
export const whereText = ({ machine, threads }: Tuned): string =>
  machine.gpu?.name ?? `${threads} ${threads === 1 ? 'thread' : 'threads'}`;

const macs = ({ m, k }: TunedShape, { tokens }: Candidate): number => m * k * tokens;

/** 10^9 multiply-accumulates a second. */
function rateOf(shape: TunedShape, one: Candidate): Estimate {
  const { median, low, high, confidence } = one.nanoseconds;
  const work = macs(shape, one);
  return { median: work / median, low: work / high, high: work / low, confidence };
}

/** What a tuning found, as a page: a heat map for each shape and layout, a roofline, and everything that was tried. */
export function tunePage(tuned: Tuned): string {
  const { model, target, machine, version, date, shapes, complete } = tuned;
  const subtitle =
    `${target}, ${whereText(tuned)}, ${machine.cpu}, version ${version}, ${date}` +
    (complete ? '' : ': time ran out before all was measured');
  const sections = [
    chosen(tuned),
    ...(tuned.trials.length > 0 ? [trials(tuned)] : []),
    ...(shapes.length > 0 ? [roofline(tuned)] : []),
    ...shapes.flatMap(maps),
    ...shapes.map(all),
  ];
  return page(`Tuning of ${model}`, subtitle, sections);
}

function chosen(tuned: Tuned): Section {
  const { shapes, choice } = tuned;
  const rows = shapes.flatMap(({ m, k, uses, layout, layouts }) => {
    const { kernels } = layouts.find((one) => one.layout === layout)!;
    return BATCH_CLASSES.flatMap((takes) => {
      const kernel = kernels[takes];
      if (!kernel) return [];
      return [[uses.join(', '), `${m} × ${k}`, batchTitle(tuned, takes), layout, tileText(kernel.tile), kernel.reason]];
    });
  });
  return {
    title: 'What is compiled',
    content: htmlTable(['matrix', 'm × k', 'for', 'layout', 'tile', 'why'], rows),
    note:
      choice === 'tuned'
        ? 'The layout of a matrix is the one in which a prompt of 128 tokens and 128 new ones take the least time.'
        : 'The whole model was no faster with these: the default is compiled.',
  };
}

function trials({ trials: run }: Tuned): Section {
  const perSecond = ({ median, low, high, confidence }: Estimate, tokens: number): Estimate => ({
    median: tokens / median,
    low: tokens / high,
    high: tokens / low,
    confidence,
  });
  const bars = run.flatMap(({ name, prefill, perToken, perStep }, series) => [
    { label: `${name}: prefill`, value: perSecond(prefill, 128), series },
    { label: `${name}: decode`, value: perSecond(perToken, 1), series },
    ...(perStep ? [{ label: `${name}: 64 sequences`, value: perSecond(perStep, 64), series }] : []),
  ]);
  const kinds = ['prefill', 'decode', ...(run.some(({ perStep }) => perStep) ? ['64 sequences'] : [])].map((kind) =>
    bars.filter(({ label }) => label.endsWith(kind)),
  );
  return {
    title: 'Whole models, tokens a second',
    content: kinds.map((some) => barChart(some, 'tokens/s')),
    note: 'Turn about in one process. Bars are medians, lines their intervals from order statistics.',
  };
}

function roofline({ shapes, limits }: Tuned): Section {
  const layouts = [...new Set(shapes.flatMap((shape) => shape.layouts.map(({ layout }) => layout)))];
  const points = shapes.flatMap((shape) =>
    shape.candidates
      .filter(({ outcome }) => outcome === 'best')
      .map((one) => ({
        label: `${shape.uses.join(', ')} ${one.layout.split('_')[0]}`,
        intensity: macs(shape, one) / one.bytes,
        rate: rateOf(shape, one),
        series: layouts.indexOf(one.layout),
      })),
  );
  return {
    title: 'Roofline',
    content: rooflinePlot(points, limits),
    note: 'The best kernel of each layout: how many multiply-accumulates it does for a byte of weights, and how fast, under what the machine reads and computes at best.',
  };
}

/** What a heat map shows of a tile: rows against columns, or for many tokens tokens; of a GPU what shares the work. */
function axesOf({ takes, tile: { rows, columns, tokens, block } }: Candidate) {
  if (block) return { x: block.split, y: takes === 'one' ? block.warps : rows };
  return { x: takes === 'one' ? columns : tokens, y: rows };
}

/** A heat map for each layout and batch class. */
function maps(shape: TunedShape): Section[] {
  return BATCH_CLASSES.flatMap((takes) => {
    const tried = shape.candidates.filter((one) => one.takes === takes);
    if (tried.length === 0) return [];
    const layouts = [...new Set(tried.map(({ layout }) => layout))];
    return [
      {
        title: `${shape.uses.join(', ')}, ${shape.m} × ${shape.k}: ${kindOf(tried[0]!)}`,
        content: layouts.map((layout) => layoutMap(shape, layout, tried, takes)),
        note: 'G multiply-accumulates a second; the frame marks the kernel that is used where the layout is. Of tiles that differ in more than their sizes here, the fastest is shown.',
      },
    ];
  });
}

const kindOf = ({ takes, tokens }: Candidate): string =>
  takes === 'one' ? 'one token (GEMV)' : `${takes === 'many' ? 'a prompt of ' : ''}${tokens} tokens (GEMM)`;

function layoutMap(shape: TunedShape, layout: string, tried: readonly Candidate[], takes: BatchClass): Markup {
  const own = tried.filter((one) => one.layout === layout);
  const fastest = Math.min(...tried.map(({ nanoseconds }) => nanoseconds.median));
  const squares = new Map<string, Candidate>();
  for (const one of own) {
    const { x, y } = axesOf(one);
    const at = `${y} ${x}`;
    const other = squares.get(at);
    const better = other === undefined || one.nanoseconds.median < other.nanoseconds.median;
    if (one.outcome === 'best' || (better && other?.outcome !== 'best')) squares.set(at, one);
  }
  const cells = [...squares.values()].map((one): Cell => {
    const rate = rateOf(shape, one);
    return {
      ...axesOf(one),
      value: fastest / one.nanoseconds.median,
      text: number(rate.median),
      title: `${tileText(one.tile)}: ${number(rate.median)} GMAC/s, ${number(one.nanoseconds.median / 1000)} µs, ${one.rounds} rounds, ${one.outcome}`,
      marked: one.outcome === 'best',
    };
  });
  return element('div', { class: 'map' }, element('p', {}, layout), heatMap(cells, titlesOf(own, takes)));
}

function titlesOf([first]: readonly Candidate[], takes: BatchClass) {
  if (first?.tile.block) return { xAxis: 'what shares K', yAxis: takes === 'one' ? 'warps' : 'rows' };
  return { xAxis: takes === 'one' ? 'columns of a tile' : 'tokens of a tile', yAxis: 'rows' };
}

function all(shape: TunedShape): Section {
  const rows = shape.candidates.map((one) => [
    one.kernel,
    `${number(one.nanoseconds.median / 1000)} µs`,
    intervalText({
      ...one.nanoseconds,
      median: one.nanoseconds.median / 1000,
      low: one.nanoseconds.low / 1000,
      high: one.nanoseconds.high / 1000,
    }),
    `${number(one.bytes / one.nanoseconds.median)} GB/s`,
    `${number(rateOf(shape, one).median)} GMAC/s`,
    String(one.rounds),
    `${one.outcome}${one.isDefault ? ', the default' : ''}`,
  ]);
  return {
    title: `Everything tried for ${shape.m} × ${shape.k}`,
    content: htmlTable(['kernel', 'a call', 'interval', 'reading', 'computing', 'rounds', ''], rows),
    note: `${shape.candidates.length} kernels, each checked bit for bit before it was timed.`,
  };
}
