import { estimate, isClear, median } from '../../statistics.ts';

/** Somebody in a contest. Samples are times, less is better; those of one round stand at the same index. */
export interface Contestant {
  readonly name: string;
  /** Only those of one league knock each other out. */
  readonly league: string;
  readonly samples: number[];
  /** Clearly slower than the leader of its league. */
  out: boolean;
}

export interface ContestRules {
  /** Whether there is no more time. */
  readonly isOver: () => boolean;
  /** Called after each round. */
  readonly onRound?: (round: number, alive: readonly Contestant[]) => void | Promise<void>;
  /** Rounds before anybody may leave by statistics … */
  readonly least?: number;
  /** … that those who are left run in any case … */
  readonly final?: number;
  /** … and after which the contest ends without a decision. */
  readonly most?: number;
}

/** Slower than this in both of the first two rounds is out at once. */
const HOPELESS = 1.3;

const ratiosTo = (leader: Contestant, other: Contestant): number[] =>
  other.samples.slice(0, leader.samples.length).map((sample, round) => sample / leader.samples[round]!);

/** The fastest of a league, by the median of all rounds. */
export function leaderOf(contestants: readonly Contestant[], league: string): Contestant | undefined {
  const running = contestants.filter((one) => one.league === league && !one.out && one.samples.length > 0);
  return running.sort((a, b) => median(a.samples) - median(b.samples))[0];
}

/** How much slower than `leader` another is, round by round, and how sure that is. */
export const slowdown = (leader: Contestant, other: Contestant) => estimate(ratiosTo(leader, other));

function dismiss(contestants: readonly Contestant[], least: number): void {
  for (const league of new Set(contestants.map((one) => one.league))) {
    const leader = leaderOf(contestants, league);
    if (!leader) continue;
    for (const other of contestants) {
      if (other === leader || other.out || other.league !== league) continue;
      const ratios = ratiosTo(leader, other);
      if (ratios.length === 2 && Math.min(...ratios) > HOPELESS) other.out = true;
      if (ratios.length < least) continue;
      const behind = estimate(ratios);
      other.out = isClear(behind) && behind.low > 1;
    }
  }
}

/**
 * Successive elimination: in each round everybody who is left is timed once, in an order that moves on, so that what
 * disturbs the machine hits all alike; who is clearly slower than the leader of the league is out. It ends when one is
 * left in each league, or when there is no more time. Contestants may bring samples of earlier rounds.
 */
export async function eliminate(
  contestants: readonly Contestant[],
  time: (contestant: Contestant) => Promise<number>,
  { isOver, onRound, least = 4, final = 8, most = 24 }: ContestRules,
): Promise<void> {
  const leagues = new Set(contestants.map(({ league }) => league)).size;
  const roundsOf = () => Math.min(...contestants.filter(({ out }) => !out).map(({ samples }) => samples.length));
  for (let round = roundsOf(); round < most; round++) {
    const alive = contestants.filter(({ out }) => !out);
    if (alive.length === leagues && round >= final) return;
    for (let i = 0; i < alive.length; i++) {
      const one = alive[(i + round) % alive.length]!;
      if (one.samples.length > round) continue;
      if (isOver()) return;
      one.samples.push(await time(one));
    }
    dismiss(contestants, least);
    await onRound?.(
      round + 1,
      contestants.filter(({ out }) => !out),
    );
  }
}
