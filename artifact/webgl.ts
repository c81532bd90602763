/**
 * The contract between a model compiled for WebGL and what runs it: `model.json` of the target's folder. It has the kernels of
 * the ternary matrices as JavaScript, which gpu.js makes shaders of, and the steps of the model, which the runtime interprets.
 */

import type { FloatEncodingName } from './encodings/index.ts';

/** Bumped when an older runtime could misread a newer program. */
export const WEBGL_VERSION = 1;

/** Columns of a texel of codes: four floats of sixteen bits, eight columns each. */
export const TEXEL_COLUMNS = 32;

/** A table of rows in the weights file, encoded as the model file has it. */
export interface TableAt {
  readonly offset: number;
  readonly encoding: FloatEncodingName;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: number;
}

/** A ternary matrix: where its codes are, and the float32 scales of its groups of sixteen rows. */
export interface MatrixAt {
  readonly codes: number;
  readonly bytes: number;
  readonly scales: number;
}

/**
 * What a step does, with the names of the buffers that it reads and writes. Offsets are bytes; those of a layer's weights count
 * from the layer's start. Norms are offsets of as many float32 values as the step has, padded with zeros to a multiple of 16.
 */
export type WebGlStep =
  | {
      readonly op: 'embed';
      readonly scale: number | null;
      readonly out: string;
      readonly angles: string;
      readonly localAngles: string | null;
    }
  | {
      readonly op: 'norm';
      readonly input: string;
      readonly norm: number;
      readonly size: number;
      readonly out: string;
      readonly accumulate: boolean;
    }
  | {
      readonly op: 'norm_quantise';
      readonly input: string;
      readonly norm: number | null;
      readonly size: number;
      readonly q: string;
    }
  | {
      readonly op: 'bitlinear';
      /** Index of the matrix among those of a layer. */
      readonly matrix: number;
      readonly q: string;
      readonly out: string;
      /** Where in each token's `out` the rows go. */
      readonly row: number;
      readonly accumulate: boolean;
    }
  | {
      readonly op: 'rope_store';
      readonly qkv: string;
      readonly queryNorm: number | null;
      readonly keyNorm: number | null;
      readonly angles: string;
      readonly localAngles: string | null;
    }
  | { readonly op: 'attention'; readonly qkv: string; readonly window: number | null; readonly out: string }
  | {
      readonly op: 'gated_quantise';
      readonly input: string;
      readonly norm: number | null;
      readonly size: number;
      readonly activation: 'relu2' | 'silu' | 'gelu';
      readonly q: string;
    }
  | { readonly op: 'final_norm'; readonly input: string; readonly norm: number; readonly out: string }
  | { readonly op: 'head'; readonly input: string };

/** A ternary matrix of every layer: m rows, those of padding included, and k columns. */
export interface WebGlMatrix extends MatrixAt {
  readonly kernel: string;
  readonly m: number;
  readonly k: number;
}

export interface WebGlProgram {
  readonly version: typeof WEBGL_VERSION;
  /** Equals targets[id].key of the manifest. */
  readonly key: string;
  readonly layers: number;
  readonly vocab: number;
  readonly embedding: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly normEpsilon: number;
  readonly attentionScale: number;
  readonly rope: {
    readonly pairs: 'half' | 'interleaved';
    /** Radians a position for each rotating pair, and those of layers that attend to a window. */
    readonly frequencies: readonly number[];
    readonly localFrequencies: readonly number[] | null;
  };
  /** Whether a layer attends to a window, where there are any that do. */
  readonly local: readonly boolean[] | null;
  /** Tokens of a step at most. */
  readonly maxTokens: number;
  readonly prologue: readonly WebGlStep[];
  readonly layer: readonly WebGlStep[];
  readonly epilogue: readonly WebGlStep[];
  /** float32 values of a token in each buffer; of those of quantised values, as many as fill texels. */
  readonly buffers: Readonly<Record<string, number>>;
  readonly quantised: Readonly<Record<string, number>>;
  readonly table: TableAt;
  /** The table that the head reads: `table` where the two are one. */
  readonly head: TableAt;
  readonly matrices: readonly WebGlMatrix[];
  readonly layerBase: number;
  readonly layerBytes: number;
  /** JavaScript by kernel name. */
  readonly kernels: Readonly<Record<string, string>>;
}
