import type { NativeCounts } from '../addon.ts';
import type { FoundLogits, NeededLogits } from './executor.ts';
import type { News } from './protocol.ts';

/** Where a request tells what it has brought. */
export type Tell = (news: News) => void;

/** What a step did for one sequence. */
export interface StepResult {
  /** It ran tokens [first, first + count) of the sequence. */
  readonly first: number;
  readonly count: number;
  /** A row of `vocab` for each of them that wanted it, in order; theirs until the next step. */
  readonly logits: Float32Array;
  /** What stands in for the one row of whoever asked for less than all of it. */
  readonly found: FoundLogits | undefined;
  readonly vocab: number;
  /** Positions that a sequence may have. */
  readonly context: number;
  /** Of the step, whose other sequences count as well. */
  readonly counts: NativeCounts;
  /** Milliseconds. */
  readonly took: number;
}

/** `restart`: go on with the new tokens from an empty cache. */
export type Next = 'more' | 'restart' | 'ended';

/** A request that runs tokens in a KV slot. */
export interface SequenceRequest {
  /** All tokens known so far. The engine runs those that the KV cache lacks. */
  readonly tokens: readonly number[];
  /** Whether tokens that the cache happens to hold need not be run again. */
  readonly reusesCache: boolean;
  readonly tell: Tell;
  started(cachedTokens: number): void;
  /** Whether there is room for what a step brings. If not, the sequence waits. */
  ready(): boolean;
  /** So much of what it has brought was read. */
  taken(count: number): void;
  wantsLogits(index: number): boolean;
  /** What of a row it needs, where that is less than all of it. Asked once for each row that it has a step to itself for. */
  needed(vocab: number): NeededLogits | undefined;
  /** How many rows it takes of one step. */
  maxRows(vocab: number): number;
  /** Takes the results of a step. */
  accept(result: StepResult): Next;
}

export const NOT_NUMBERS = 'the model computed logits that are not numbers';
