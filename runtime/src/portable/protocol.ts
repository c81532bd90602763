import { BitnetError } from '../../../errors.ts';
import type { EngineFacts, NativeGenerateOptions, NativeOutput, NativeStats } from '../addon.ts';

/** What is asked of an engine that runs in a thread of its own. */
export type Ask =
  | {
      readonly kind: 'generate';
      readonly tokens: Int32Array;
      readonly options: NativeGenerateOptions;
      readonly at: number;
    }
  | { readonly kind: 'logits'; readonly tokens: Int32Array }
  | {
      readonly kind: 'embed';
      readonly tokens: Int32Array;
      readonly lengths: Int32Array;
      readonly pooling: 'last' | 'mean' | 'cls';
    }
  | { readonly kind: 'score'; readonly tokens: Int32Array; readonly window: number }
  | { readonly kind: 'measure' };

/** Messages to the engine. A request has a number, which whoever asks has chosen. */
export type ToEngine =
  | { readonly type: 'ask'; readonly id: number; readonly ask: Ask }
  /** So much of what a request has brought was read: tokens, or boxes of logits. */
  | { readonly type: 'taken'; readonly id: number; readonly count: number }
  | { readonly type: 'cancel'; readonly id: number }
  /** End all requests with an error, and everything else. */
  | { readonly type: 'dispose' };

/** What a request has brought; it is over where there is an ending. */
export interface News {
  readonly ending: NativeOutput['ending'];
  readonly error: string;
  readonly tokens?: readonly number[];
  readonly stats?: NativeStats;
  readonly rows?: Float32Array<ArrayBuffer>;
  readonly texts?: readonly number[];
  readonly nll?: number;
  readonly predicted?: number;
  readonly readBytesPerSecond?: number;
  readonly int8MacsPerSecond?: number;
}

/** Messages from the engine. */
export type FromEngine =
  | { readonly type: 'ready'; readonly facts: EngineFacts }
  | { readonly type: 'failed'; readonly error: string; readonly hint?: string }
  | { readonly type: 'news'; readonly id: number; readonly news: News }
  | { readonly type: 'disposed' };

/** The message that an engine could not be opened. */
export function failedMessage({
  message,
  hint,
}: Pick<BitnetError, 'message' | 'hint'>): FromEngine & { type: 'failed' } {
  return { type: 'failed', error: message, ...(hint ? { hint } : {}) };
}

/** Milliseconds on a clock that all threads of the process read alike. */
export const clock = (): number => performance.timeOrigin + performance.now();

/** How requests end where the engine fails: with what is wrong, and on a second line what to do about it. */
export function failureOf(error: Error): string {
  const hint = error instanceof BitnetError && error.hint ? `\n${error.hint}` : '';
  return `the engine failed: ${error.message}${hint}`;
}
