/** The middle of some values, and how sure it is. */
export interface Estimate {
  readonly median: number;
  /** The interval that holds the median of all values that there might have been … */
  readonly low: number;
  readonly high: number;
  /** … with this probability: 0.95 or more, where there are six values or more. */
  readonly confidence: number;
}

const CONFIDENCE = 0.95;

/** Median; of an even number of values, the mean of the middle two. NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

/**
 * The median of one value or more with its interval from order statistics, which supposes nothing of how the values are
 * distributed: of n values in order, the k-th from below and the k-th from above, k as large as the confidence allows.
 * Each value is above the true median with probability ½, so the interval misses it where fewer than k are on one side.
 */
export function estimate(values: readonly number[]): Estimate {
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  let missed = 2 ** (1 - n);
  let term = missed;
  let k = 1;
  for (; 2 * k + 1 <= n; k++) {
    term *= (n - k + 1) / k;
    if (missed + term > 1 - CONFIDENCE) break;
    missed += term;
  }
  return { median: median(sorted), low: sorted[k - 1]!, high: sorted[n - k]!, confidence: 1 - missed };
}

/** b / a of two positive figures that were measured apart; the interval holds wherever both of theirs do. */
export function quotient(a: Estimate, b: Estimate): Estimate {
  return {
    median: b.median / a.median,
    low: b.low / a.high,
    high: b.high / a.low,
    confidence: Math.max(0, a.confidence + b.confidence - 1),
  };
}

/** Less certain than four runs on each side is no evidence. */
const EVIDENCE = 0.75;

/** Whether a ratio is clear of the noise: its interval is all on one side of 1, and there were runs enough to say so. */
export function isClear({ low, high, confidence }: Estimate): boolean {
  return confidence >= EVIDENCE && (low > 1 || high < 1);
}
