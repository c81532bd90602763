import { bytes, number, percent } from '../../cli/format.ts';
import type { Estimate } from '../../statistics.ts';
import { type Bar, barChart, intervalText } from './bars.ts';
import { compareReports } from './compare.ts';
import { htmlTable, page, type Section } from './page.ts';
import { type BenchReport, type ReportRow, rowName } from './result.ts';
import { type RooflinePoint, rooflinePlot } from './roofline.ts';

/** One result as a page, or two with the second compared to the first. */
export function benchPage(report: BenchReport, other?: BenchReport): string {
  const reports = other === undefined ? [report] : [report, other];
  const title = [...new Set(reports.map(({ model }) => model))].join(' and ');
  const subtitle = reports.map(describeRun).join(' — ');
  const sections = [
    ...(['prefill', 'decode'] as const).map((kind) => speeds(kind, reports)),
    ...reports.map((one) => roofline(one, reports.length > 1)),
    ...(other === undefined ? [] : [comparison(report, other)]),
    waiting(reports),
    memory(reports),
  ];
  return page(
    title,
    subtitle,
    sections.filter((section) => section !== undefined),
  );
}

/** `target, 2 threads, CPU, version, date`. */
export function describeRun({ target, threads, cpu, gpu, version, date }: BenchReport): string {
  const on = gpu === undefined ? target : `${target} on ${gpu}`;
  return `${on}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, ${cpu}, version ${version}, ${date}`;
}

/** `85% of the int8 peak`. */
export const shareText = ({ share, bound }: ReportRow): string =>
  `${percent(share.median)} of ${bound === 'int8' ? 'the int8 peak' : 'the bandwidth'}`;

/** `540 ms, 41 ms`: the time to the first token of a new prompt, and of one that was asked before. */
export const firstTokenText = ({ firstTokenMs, cachedFirstTokenMs }: ReportRow): string =>
  [firstTokenMs, cachedFirstTokenMs].flatMap((ms) => (ms === undefined ? [] : [`${number(ms.median)} ms`])).join(', ');

function speeds(kind: ReportRow['kind'], reports: readonly BenchReport[]): Section | undefined {
  const bars = reports.flatMap(({ rows }, series) =>
    rows
      .filter((row) => row.kind === kind)
      .map((row): Bar => ({ label: rowName(row), value: row.tokensPerSecond, series, note: shareText(row) })),
  );
  if (bars.length === 0) return undefined;
  return {
    title: `${kind === 'prefill' ? 'Prefill' : 'Decode'}, tokens a second`,
    content: barChart(
      bars.toSorted((a, b) => order(reports, a) - order(reports, b)),
      'tokens/s',
    ),
    note: NOTES[kind],
  };
}

/** Bars of the same row stand together, the first result's above. */
function order([first]: readonly BenchReport[], { label, series = 0 }: Bar): number {
  const index = first!.rows.findIndex((row) => rowName(row) === label);
  return 2 * (index < 0 ? first!.rows.length : index) + series;
}

const NOTES = {
  prefill:
    'Bars are medians of the runs, lines their intervals (order statistics, 95% where there are six runs or more). Shares are of the machine as it was measured beside the runs.',
  decode: 'All sequences together. “× 4” are four sequences that share each step, “after 1024” so many tokens before.',
} as const;

function roofline({ rows, machine, date, target }: BenchReport, several: boolean): Section {
  const scaled = ({ median, low, high, confidence }: Estimate, factor: number): Estimate => ({
    median: median * factor,
    low: low * factor,
    high: high * factor,
    confidence,
  });
  const points = rows.map((row): RooflinePoint => {
    const macsPerToken = row.macs / (row.tokens * row.sequences);
    return {
      label: rowName(row),
      intensity: row.macs / row.bytes,
      rate: scaled(row.tokensPerSecond, macsPerToken / 1e9),
      series: row.kind === 'prefill' ? 1 : 0,
    };
  });
  const roof = { readGBps: machine.readGBps.median, int8GMACps: machine.int8GMACps.median };
  return {
    title: several ? `Against the machine: ${target}, ${date}` : 'Against the machine',
    content: rooflinePlot(points, roof),
    note: 'Multiply-accumulates of the ternary matrices, and bytes of weights, keys and values that the steps read.',
  };
}

function comparison(a: BenchReport, b: BenchReport): Section {
  const { rows, machine, onlyA, onlyB } = compareReports(a, b);
  const ratio = (one: Estimate) => `${number(one.median)}×`;
  const lone = [...onlyA.map((name) => `${name} (first)`), ...onlyB.map((name) => `${name} (second)`)];
  return {
    title: 'The second over the first',
    content: htmlTable(
      ['', 'first', 'second', 'speed', 'interval', 'share', ''],
      rows.map(({ name, a: one, b: other, speed, share, verdict }) => [
        name,
        number(one.tokensPerSecond.median),
        number(other.tokensPerSecond.median),
        ratio(speed),
        intervalText(speed),
        ratio(share),
        verdict,
      ]),
    ),
    note:
      `The machine: reading ${ratio(machine.readGBps)}, int8 ${ratio(machine.int8GMACps)}.` +
      (lone.length > 0 ? ` In one of them only: ${lone.join(', ')}.` : ''),
  };
}

function waiting(reports: readonly BenchReport[]): Section {
  const rows = reports.flatMap((report, i) => {
    const mark = reports.length > 1 ? ` (${i === 0 ? 'first' : 'second'})` : '';
    const first = report.rows.flatMap((row) => {
      const line = (what: string, ms?: Estimate) =>
        ms === undefined ? [] : [[`${what}, ${rowName(row)}${mark}`, number(ms.median), intervalText(ms)]];
      return [...line('first token', row.firstTokenMs), ...line('first token again', row.cachedFirstTokenMs)];
    });
    const compiled =
      report.compileSeconds === undefined
        ? []
        : [[`compile with an empty cache${mark}`, number(1000 * report.compileSeconds), '']];
    return [
      ...compiled,
      [`open the artifact${mark}`, number(report.openMs.median), intervalText(report.openMs)],
      ...first,
    ];
  });
  return {
    title: 'Waiting',
    content: htmlTable(['', 'ms', 'interval'], rows),
    note: '“Again” is a prompt that was asked before: the KV cache has all of it. The artifact is opened with its weights in the system’s cache.',
  };
}

function memory(reports: readonly BenchReport[]): Section {
  return {
    title: 'Memory',
    content: htmlTable(
      ['', 'weights', 'KV cache', 'the rest', 'resident'],
      reports.map(({ model, gpu, memory: use }) => [
        model,
        bytes(use.weights),
        bytes(use.kv),
        bytes(restOf(use, gpu !== undefined)),
        bytes(use.resident),
      ]),
    ),
    note: 'Of the process after the runs. The rest is what neither weights nor KV cache account for; what the process had before the model was opened is in “resident” only.',
  };
}

/**
 * Bytes of the process that opening and running the model took besides its weights and the whole KV cache, which are not
 * the process's where a GPU has them.
 */
export function restOf({ resident, before, weights, kv }: BenchReport['memory'], onGpu = false): number {
  return Math.max(0, resident - before - (onGpu ? 0 : weights + kv));
}
