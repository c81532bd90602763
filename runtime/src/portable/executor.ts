import type { NativeCounts } from '../addon.ts';

/** One token of a step: bn_token of artifact/abi.h. */
export interface Token {
  readonly id: number;
  readonly position: number;
  readonly sequence: number;
  /** Where its logits go, or -1; likewise its hidden state. */
  readonly logitsRow: number;
  readonly hiddenRow: number;
}

/** What of the logits the next token depends on: bn_screen of artifact/abi.h. */
export interface NeededLogits {
  readonly vocab: number;
  readonly keep: number;
  readonly margin: number;
  readonly rows: readonly number[];
}

/** The most that `keep` may be: BN_SCREEN_KEEP. */
export const SCREEN_KEEP = 256;

/** A sequence's place in the KV cache, cut into sequences of `positions` positions. */
export interface CachePart {
  readonly sequence: number;
  readonly positions: number;
}

export interface StepOptions {
  /** Of each row of logits; without it all of them. */
  readonly screens?: readonly NeededLogits[];
  /** Sequences of the tokens are those of this part. */
  readonly part?: CachePart;
}

/** Some of a row of logits. */
export interface FoundLogits {
  /** Rising. */
  readonly ids: readonly number[];
  /** Of those ids. */
  readonly logits: Float32Array;
}

/** Overwritten by the next step. */
export interface StepOutput {
  /** [rows][vocab] */
  readonly logits: Float32Array;
  /** [rows][embedding] */
  readonly hidden: Float32Array;
  readonly counts: NativeCounts;
  /** Where a screen was asked for, this may stand in for the one row: it has all that the screen names. */
  readonly found?: FoundLogits;
}

/** A model ready to run. It knows nothing of requests. */
export interface Executor {
  readonly vocab: number;
  readonly embedding: number;
  /** Tokens of a step at most, and rows of logits. */
  readonly maxTokens: number;
  readonly maxRows: number;
  /** Positions of each sequence. */
  readonly context: number;
  readonly sequences: number;
  readonly threads: number;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly workspaceBytes: number;
  step(tokens: readonly Token[], options?: StepOptions): StepOutput | Promise<StepOutput>;
  /** How many sequences of so many positions there is room for in the place of one. */
  sequencesInPart(positions: number): number;
  /** Bytes a second that the machine reads at best, and int8 multiply-accumulates that it does. */
  limits(cancelled: () => boolean): Limits | Promise<Limits>;
}

export interface Limits {
  readonly readBytesPerSecond: number;
  readonly int8MacsPerSecond: number;
}
