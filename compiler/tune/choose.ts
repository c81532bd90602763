import { type Estimate, estimate, isClear, median, quotient } from '../../statistics.ts';
import type { BatchClass } from './bed.ts';
import type { Candidate, MatrixShape } from './candidates.ts';
import { type Contestant, leaderOf, slowdown } from './eliminate.ts';
import type { TunedCandidate, TunedKernel, TunedShape } from './tuned-file.ts';

/** What is made as short as possible: a prompt of so many tokens, read at once, and so many new ones, one by one. */
export const OBJECTIVE = { prompt: 128, generated: 128 } as const;

/** A kernel that was tried, with its times: nanoseconds of one call. */
export interface Tried {
  readonly candidate: Candidate;
  readonly contestant: Contestant;
}

const times = (factor: number): string => `${factor.toFixed(2)} times`;

/** Nanoseconds of the objective. */
function objectiveOf(one: Estimate, many: Estimate): Estimate {
  const sum = (of: 'median' | 'low' | 'high') => OBJECTIVE.generated * one[of] + many[of];
  return {
    median: sum('median'),
    low: sum('low'),
    high: sum('high'),
    confidence: Math.max(0, one.confidence + many.confidence - 1),
  };
}

/** The kernel of a layout to use: the fastest, if it is clearly faster than the default tile, by `least` nanoseconds or more. */
function bestOf(
  tried: readonly Tried[],
  layout: string,
  least: number,
): { best: Tried; kernel: TunedKernel } | undefined {
  const league = tried.filter(({ contestant }) => contestant.league === layout && contestant.samples.length > 0);
  const leading = leaderOf(
    league.map(({ contestant }) => contestant),
    layout,
  );
  const leader = league.find(({ contestant }) => contestant === leading);
  const standard = league.find(({ candidate }) => candidate.isDefault);
  if (!leader || !standard) return undefined;
  const ahead = slowdown(leader.contestant, standard.contestant);
  // Who is out was clearly slower, often after so few rounds that no interval says it.
  const faster = leader !== standard && (standard.contestant.out || (isClear(ahead) && ahead.low > 1));
  const clear = faster && median(standard.contestant.samples) - median(leader.contestant.samples) >= least;
  const best = clear ? leader : standard;
  const reason = clear ? `tuned: ${times(ahead.median)} the default tile` : 'tuned: the default tile';
  const { family, tile } = best.candidate.spec;
  return { best, kernel: { family, tile, reason } };
}

function describe(tried: Tried, best: ReadonlySet<Tried>): TunedCandidate {
  const { candidate, contestant } = tried;
  const { spec, layout, takes, tokens, isDefault, cost } = candidate;
  return {
    kernel: spec.name,
    layout,
    takes,
    tile: spec.tile,
    tokens,
    nanoseconds: estimate(contestant.samples),
    rounds: contestant.samples.length,
    bytes: cost.bytes,
    isDefault,
    outcome: best.has(tried) ? 'best' : contestant.out ? 'slower' : 'undecided',
  };
}

/**
 * The kernels of a shape, and the layout in which it takes the least time of the objective: `standard`, unless another one
 * is clearly faster; and of each class the default tile, unless one gains `least` nanoseconds. Undefined where a kernel of the
 * standard layout was not timed in each batch class.
 */
export function chooseForShape(
  shape: MatrixShape,
  tried: Readonly<Record<'one' | 'many', readonly Tried[]>> & Readonly<Partial<Record<BatchClass, readonly Tried[]>>>,
  standard: string,
  least = 0,
): TunedShape | undefined {
  const best = new Set<Tried>();
  const all = Object.values(tried).flat();
  const layouts = [...new Set(all.map(({ candidate }) => candidate.layout))].flatMap((layout) => {
    const [one, few, some, many] = (['one', 'few', 'some', 'many'] as const).map((takes) => {
      const found = bestOf(tried[takes] ?? [], layout, least);
      if (found) best.add(found.best);
      return found;
    });
    if (!one || !many) return [];
    const [a, b] = [one, many].map((found) => estimate(found.best.contestant.samples)) as [Estimate, Estimate];
    const between = { ...(few ? { few: few.kernel } : {}), ...(some ? { some: some.kernel } : {}) };
    return [{ layout, nanoseconds: objectiveOf(a, b), kernels: { one: one.kernel, ...between, many: many.kernel } }];
  });
  const own = layouts.find(({ layout }) => layout === standard);
  if (!own) return undefined;
  const fastest = layouts.reduce((a, b) => (b.nanoseconds.median < a.nanoseconds.median ? b : a));
  const ahead = quotient(fastest.nanoseconds, own.nanoseconds);
  // Order statistics of both bound the quotient loosely: that the intervals do not meet is evidence.
  const clear = fastest !== own && isClear(ahead);
  const chosen = clear ? fastest : own;
  const reason = clear ? `tuned: ${times(ahead.median)} as fast as ${standard}` : 'tuned: no layout is clearly faster';
  const { m, k, uses, count, parts } = shape;
  return {
    m,
    k,
    uses: [...uses],
    count,
    parts: [...parts],
    layout: chosen.layout,
    reason,
    layouts,
    candidates: all
      .filter(({ contestant }) => contestant.samples.length > 0)
      .map((one) => describe(one, best))
      .sort((a, b) => a.tokens - b.tokens || a.nanoseconds.median - b.nanoseconds.median),
  };
}

/** Samples of whole models, in seconds; those of one round stand at the same index. */
export interface TrialSamples {
  readonly prefill: readonly number[];
  readonly perToken: readonly number[];
  /** Of steps of 64 sequences, where the model is for many at once: they count as a token does. */
  readonly perStep?: readonly number[];
}

/** Seconds of the objective, round by round. */
export const trialSeconds = ({ prefill, perToken, perStep = [] }: TrialSamples): number[] =>
  prefill.map((seconds, round) => seconds + OBJECTIVE.generated * (perToken[round]! + (perStep[round] ?? 0)));

/** Whether a whole model is no slower than another by the median of the rounds, or with `clearly`, faster beyond the noise. */
export function isFaster(one: TrialSamples, other: TrialSamples, clearly: boolean): boolean {
  const others = trialSeconds(other);
  const ratios = trialSeconds(one).map((seconds, round) => seconds / others[round]!);
  if (!clearly) return median(ratios) <= 1;
  const ratio = estimate(ratios);
  return isClear(ratio) && ratio.high < 1;
}
