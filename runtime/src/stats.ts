import type { Manifest } from '../../artifact/manifest.ts';
import type { NativeStats } from './addon.ts';
import { type Reading, readingOf } from './bytes-read.ts';

/** What a generation cost. Times are in milliseconds. */
export interface GenerationStats extends Reading {
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
}

export function statsOf(native: NativeStats, manifest: Manifest): GenerationStats {
  const rate = (tokens: number, ns: number) => (ns > 0 ? (tokens / ns) * 1e9 : 0);
  return {
    promptTokens: native.promptTokens,
    cachedTokens: native.cachedTokens,
    prefillMs: native.prefillNs / 1e6,
    prefillTokensPerSecond: rate(native.promptTokens - native.cachedTokens, native.prefillNs),
    timeToFirstTokenMs: native.firstTokenNs / 1e6,
    decodeTokens: native.decodeTokens,
    decodeMs: native.decodeNs / 1e6,
    decodeTokensPerSecond: rate(native.decodeTokens, native.decodeNs),
    ...readingOf(manifest, native.counts),
  };
}
