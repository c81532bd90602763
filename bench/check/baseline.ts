import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BitnetError } from '../../errors.ts';
import { type Estimate, quotient } from '../../statistics.ts';
import { type BenchReport, type ReportRow, rowName } from '../report/result.ts';

const share = z.object({
  median: z.number().positive(),
  low: z.number().positive(),
  high: z.number().positive(),
  confidence: z.number().min(0).max(1),
});
const baseline = z.object({
  format: z.literal(1),
  /** By what was measured, as `2b4t x86-avx2 2 threads`: where it was, and the shares of its rows. */
  results: z.record(z.string(), z.object({ cpu: z.string(), date: z.string(), shares: z.record(z.string(), share) })),
});

/** Shares of the machine's limits that were reached once. */
export type Baseline = z.infer<typeof baseline>;

export interface Finding {
  readonly row: string;
  readonly before?: Estimate;
  readonly now: Estimate;
  readonly ratio?: Estimate;
  /** `lost`: the median fell by more than a tenth, and the runs now are clearly below what it was. */
  readonly verdict: 'held' | 'lost' | 'new';
}

/** What a row may fall to. */
const FLOOR = 0.9;

export const EMPTY: Baseline = { format: 1, results: {} };

/** The stored baseline, or an empty one where there is no file. Throws BitnetError for a file that is none. */
export async function readBaseline(file: string): Promise<Baseline> {
  let content: string;
  try {
    content = await readFile(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return EMPTY;
    throw cause;
  }
  try {
    return baseline.parse(JSON.parse(content));
  } catch (cause) {
    throw new BitnetError(`${file} is no baseline`, { hint: 'npm run bench:check -- --update writes it anew', cause });
  }
}

/** What is compared: to read less and take as long is no loss. */
const paceOf = (row: ReportRow): Estimate => row.pace ?? row.share;

/** Under which name a result is kept. */
export const baselineKey = ({ model, target, threads }: BenchReport): string => `${model} ${target} ${threads} threads`;

/** The baseline with this result in the place of an older one. */
export function withResult(stored: Baseline, report: BenchReport): Baseline {
  const { cpu, date, rows } = report;
  const shares = Object.fromEntries(rows.map((row) => [rowName(row), paceOf(row)]));
  return { ...stored, results: { ...stored.results, [baselineKey(report)]: { cpu, date, shares } } };
}

/** Each row of a result beside the baseline's. */
export function checkResult(stored: Baseline, report: BenchReport): Finding[] {
  const shares = stored.results[baselineKey(report)]?.shares ?? {};
  return report.rows.map((row): Finding => {
    const name = rowName(row);
    const before = Object.hasOwn(shares, name) ? shares[name] : undefined;
    const now = paceOf(row);
    if (before === undefined) return { row: name, now, verdict: 'new' };
    const ratio = quotient(before, now);
    const isLost = ratio.median < FLOOR && now.high < before.median;
    return { row: name, before, now, ratio, verdict: isLost ? 'lost' : 'held' };
  });
}

/** What is found after another measurement: a row that was lost is held where it now is, as noise passes and slowness stays. */
export function confirm(findings: readonly Finding[], again: readonly Finding[]): Finding[] {
  return findings.map((finding) => {
    const second = again.find(({ row }) => row === finding.row);
    return finding.verdict === 'lost' && second?.verdict === 'held' ? second : finding;
  });
}
