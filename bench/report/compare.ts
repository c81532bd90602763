import { type Estimate, isClear, quotient } from '../../statistics.ts';
import { type BenchReport, type ReportRow, rowName } from './result.ts';

/** The second of two results over the first. */
export interface Comparison {
  readonly rows: readonly ComparedRow[];
  /** Names of rows that only one of them has. */
  readonly onlyA: readonly string[];
  readonly onlyB: readonly string[];
  /** The second machine over the first: what tells a faster program from a faster machine. */
  readonly machine: { readonly readGBps: Estimate; readonly int8GMACps: Estimate };
}

export interface ComparedRow {
  readonly name: string;
  readonly a: ReportRow;
  readonly b: ReportRow;
  /** Of tokens a second. */
  readonly speed: Estimate;
  /** Of the shares of what the machine allows. */
  readonly share: Estimate;
  /** What is clear of the noise, of the speed. */
  readonly verdict: 'faster' | 'slower' | 'not clear';
}

export function compareReports(a: BenchReport, b: BenchReport): Comparison {
  const ofA = new Map(a.rows.map((row) => [rowName(row), row]));
  const ofB = new Map(b.rows.map((row) => [rowName(row), row]));
  const rows = [...ofA].flatMap(([name, one]): ComparedRow[] => {
    const other = ofB.get(name);
    if (other === undefined) return [];
    const speed = quotient(one.tokensPerSecond, other.tokensPerSecond);
    const share = quotient(one.share, other.share);
    return [{ name, a: one, b: other, speed, share, verdict: verdictOf(speed) }];
  });
  return {
    rows,
    onlyA: [...ofA.keys()].filter((name) => !ofB.has(name)),
    onlyB: [...ofB.keys()].filter((name) => !ofA.has(name)),
    machine: {
      readGBps: quotient(a.machine.readGBps, b.machine.readGBps),
      int8GMACps: quotient(a.machine.int8GMACps, b.machine.int8GMACps),
    },
  };
}

function verdictOf(ratio: Estimate): ComparedRow['verdict'] {
  if (!isClear(ratio)) return 'not clear';
  return ratio.median > 1 ? 'faster' : 'slower';
}
