import type { BenchReport, ReportRow } from '../../bench/report/result.ts';
import { estimate } from '../../statistics.ts';

/** A row as a bench might have measured it. */
export function benchRow(parts: Partial<ReportRow>): ReportRow {
  return {
    kind: 'decode',
    tokens: 128,
    context: 0,
    sequences: 1,
    seconds: [6, 6.5, 6.2, 6.1],
    tokensPerSecond: estimate([128 / 6, 128 / 6.5, 128 / 6.2, 128 / 6.1]),
    bytes: 128e9,
    macs: 256e9,
    bound: 'bandwidth',
    share: estimate([0.8, 0.85, 0.82, 0.81]),
    ...parts,
  };
}

/** A result of that kind: a prefill and two decodes, unless it is told others. */
export function benchReport(parts: Partial<BenchReport>): BenchReport {
  return {
    format: 1,
    date: '2026-11-22',
    version: '0.1.0',
    model: 'm',
    cpu: 'a CPU',
    target: 'ref',
    threads: 2,
    kv: 'f16',
    rows: [
      benchRow({
        kind: 'prefill',
        bytes: 1e9,
        bound: 'int8',
        firstTokenMs: estimate([900, 910]),
        cachedFirstTokenMs: estimate([45, 46]),
      }),
      benchRow({}),
      benchRow({ sequences: 4, macs: 1024e9 }),
    ],
    machine: { readGBps: estimate([30, 31]), int8GMACps: estimate([700, 710]) },
    openMs: estimate([90, 95]),
    memory: {
      weights: 1_200_000_000,
      kv: 300_000_000,
      workspace: 1_000_000,
      resident: 1_700_000_000,
      before: 90_000_000,
    },
    ...parts,
  };
}
