import type { Encoding, Hyper } from './model.ts';

export type Activation = 'relu2' | 'silu';
/** Which pairs of a head rotate together: (i, i + d/2), or (2i, 2i + 1). */
export type RopePairs = 'half' | 'interleaved';

/** One part of a ternary matrix: the rows of one tensor of the model file. */
export interface Part {
  /** Name of the source tensor. */
  readonly tensor: string;
  /** Optional one-element tensor whose value multiplies the weight scale. */
  readonly scaleTensor: string | null;
  readonly rows: number;
  /** First row within the packed matrix, a multiple of 16. */
  readonly firstRow: number;
}

/** Something of the packed weights file. Offsets of a layer's tensors count from the layer's own start. */
export type PackedTensor = {
  /** `qkv`, `attn_norm`, `embedding`, … */
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
} & (
  | {
      /** float32 values, padded with zeros to a multiple of 16. */
      readonly kind: 'vector';
      readonly tensor: string;
      readonly size: number;
    }
  | {
      /** Rows as the model file stores them, little-endian. */
      readonly kind: 'rows';
      readonly tensor: string;
      readonly encoding: Encoding;
      readonly rows: number;
      readonly cols: number;
    }
  | {
      /** Ternary codes in the kernels' layout, parts one below the other, each padded to a multiple of 16 rows. */
      readonly kind: 'codes';
      readonly parts: readonly Part[];
      /** Rows of all parts, padding included. */
      readonly rows: number;
      readonly cols: number;
    }
  | {
      /** One float32 scale for each 16 rows of the `codes` named. */
      readonly kind: 'scales';
      readonly of: string;
      readonly groups: number;
    }
);

/** An activation buffer of the workspace; sizes are bytes for one token. */
export interface Buffer {
  readonly name: string;
  readonly bytes: number;
  /** Offset for one token: a step of n tokens finds the buffer at n * offset. */
  readonly offset: number;
}

/** The operations a step is made of, in order; names refer to buffers and packed tensors. */
export type Step =
  /** x = embedding[token]; the rotation angles of the token's position. */
  | { readonly op: 'embed'; readonly table: string; readonly out: string; readonly angles: string }
  /** RMS norm (unless `norm` is null), then int8 with one scale a token. */
  | { readonly op: 'norm_quantise'; readonly input: string; readonly norm: string | null; readonly size: number }
  /** out (+)= W q, W ternary. */
  | {
      readonly op: 'bitlinear';
      readonly use: string;
      readonly codes: string;
      readonly scales: string;
      /** Logical rows: those of all parts, padding between parts included. */
      readonly m: number;
      readonly k: number;
      readonly out: string;
      readonly accumulate: boolean;
    }
  /** Rotates queries in place; rotates keys and stores them and the values in the KV cache. */
  | { readonly op: 'rope_store'; readonly qkv: string; readonly angles: string }
  /** Causal grouped-query attention over the KV cache. */
  | { readonly op: 'attention'; readonly qkv: string; readonly out: string }
  /** activation(gate) * up, RMS norm (unless null), int8. */
  | {
      readonly op: 'gated_quantise';
      readonly input: string;
      readonly norm: string | null;
      readonly size: number;
      readonly activation: Activation;
    }
  /** RMS norm of the tokens that want logits. */
  | { readonly op: 'final_norm'; readonly input: string; readonly norm: string; readonly out: string }
  /** logits = H h. */
  | { readonly op: 'head'; readonly table: string; readonly input: string };

/** A model as an ordered list of steps over named buffers: what every target renders. */
export interface Plan {
  readonly name: string;
  readonly architecture: string;
  readonly hyper: Hyper;
  readonly ropePairs: RopePairs;
  /** Radians a position for each rotating pair, rope scaling included. */
  readonly ropeFrequencies: readonly number[];
  readonly maxTokens: number;
  readonly prologue: readonly Step[];
  /** Done once for each of hyper.layers layers, which differ in their weights only. */
  readonly layer: readonly Step[];
  readonly epilogue: readonly Step[];
  readonly buffers: readonly Buffer[];
  /** Bytes of workspace a token needs. */
  readonly workspaceBytes: number;
  readonly weights: {
    /** Names the packing; a kernel and its weights must agree on it. */
    readonly layout: string;
    readonly shared: readonly PackedTensor[];
    readonly layer: readonly PackedTensor[];
    readonly layerBase: number;
    readonly layerBytes: number;
    readonly bytes: number;
  };
}

/** Rounds up to whole row groups, and to whole blocks of columns. */
export const pad16 = (n: number): number => Math.ceil(n / 16) * 16;
/** Rounds up to a cache line. */
export const pad64 = (n: number): number => Math.ceil(n / 64) * 64;
