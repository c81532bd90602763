import type { NativeStats } from './addon.ts';

/** What a generation cost. Times are in milliseconds. */
export interface GenerationStats {
  readonly promptTokens: number;
  /** Of the prompt: tokens whose keys and values were still in the cache. */
  readonly cachedTokens: number;
  /** Time in the steps that ran the rest of the prompt. */
  readonly prefillMs: number;
  readonly prefillTokensPerSecond: number;
  /** From the request to the first token, waiting for a free slot included. */
  readonly timeToFirstTokenMs: number;
  /** Steps after the first token. */
  readonly decodeTokens: number;
  /** Time in those steps, sampling included, waiting for a slow reader not. */
  readonly decodeMs: number;
  readonly decodeTokensPerSecond: number;
  /** Of the decode steps, those that read only a coarse copy of the head, and of the head the rows that might matter. */
  readonly screenedTokens: number;
  /** How many such rows, on average. */
  readonly rowsPerScreenedToken: number;
  /** Bytes of weights that a decode step left unread, on average of all. */
  readonly savedBytesPerToken: number;
}

export function statsOf(native: NativeStats): GenerationStats {
  const rate = (tokens: number, ns: number) => (ns > 0 ? (tokens / ns) * 1e9 : 0);
  const mean = (sum: number, count: number) => (count > 0 ? sum / count : 0);
  return {
    promptTokens: native.promptTokens,
    cachedTokens: native.cachedTokens,
    prefillMs: native.prefillNs / 1e6,
    prefillTokensPerSecond: rate(native.promptTokens - native.cachedTokens, native.prefillNs),
    timeToFirstTokenMs: native.firstTokenNs / 1e6,
    decodeTokens: native.decodeTokens,
    decodeMs: native.decodeNs / 1e6,
    decodeTokensPerSecond: rate(native.decodeTokens, native.decodeNs),
    screenedTokens: native.screenedTokens,
    rowsPerScreenedToken: mean(native.screenedRows, native.screenedTokens),
    savedBytesPerToken: mean(native.headBytes - native.screenBytes, native.decodeTokens),
  };
}
