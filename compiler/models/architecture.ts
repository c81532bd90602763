import type { Activation, RopePairs } from '../ir/model.ts';

/** What tells one decoder-only architecture from another. */
export interface Architecture {
  /** `general.architecture` of the model file. */
  readonly id: string;
  /** Between gate and up projection, where the model file does not say: GGUF has no key for it. */
  readonly activation: Activation;
  /** As GGUF files store queries and keys. */
  readonly ropePairs: RopePairs;
  /** RMS norms before the attention output and down projections. */
  readonly subNorms: boolean;
  /** RMS norms of each query and key head before they rotate. */
  readonly headNorms?: boolean;
  /** RMS norms of what attention and feed-forward network give, before it is added to the residual stream. */
  readonly postNorms?: boolean;
  /**
   * A model may have an RMS norm of its own before each projection, after the one that they share: every projection then
   * quantises an input of its own. It has all of them or none.
   */
  readonly inputNorms?: boolean;
  /** Embeddings are multiplied by the square root of their size. */
  readonly scaledEmbedding?: boolean;
  /** Some layers attend to a window only, where the model file gives its size; this is what it may leave out. */
  readonly window?: {
    /** Every so many layers the last one attends to all positions. */
    readonly period: number;
    readonly ropeBase: number;
  };
}
