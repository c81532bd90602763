import type { Activation, FloatEncodingName, Hyper, TableTile } from './model.ts';

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

/** Bits of a value in a coarse copy: four, and a fifth that is read where those do not decide. */
export type ScreenBits = 4 | 5;

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
      /**
       * Rows, little-endian: as the model file stores them, or encoded anew where its encoding is another one; on GPUs, a head
       * may be in the tiles of compiler/kernels/head-tiles.ts.
       */
      readonly kind: 'rows';
      readonly tiled?: boolean;
      readonly tensor: string;
      readonly encoding: FloatEncodingName;
      readonly rows: number;
      readonly cols: number;
    }
  | {
      /** Ternary codes, parts one below the other, each padded to a multiple of 16 rows. */
      readonly kind: 'codes';
      /** How they are packed: a Layout's id. The kernels that read them are of that layout. */
      readonly layout: string;
      readonly parts: readonly Part[];
      /** Rows of two parts, by turns eight of each: what they are multiplied to meets as it is computed. */
      readonly woven?: boolean;
      /** Rows of all parts, padding included. */
      readonly rows: number;
      readonly cols: number;
    }
  | {
      /** One float32 scale for each 16 rows of the `codes` named, or as many as their layout says. */
      readonly kind: 'scales';
      readonly of: string;
      readonly groups: number;
    }
  | {
      /** A coarse copy of the rows of a table, for bounds on what they multiply to: see kernels/screen.ts. */
      readonly kind: 'screen';
      readonly tensor: string;
      /** How the table's rows are packed. */
      readonly encoding: FloatEncodingName;
      readonly bits: ScreenBits;
      readonly rows: number;
      readonly cols: number;
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
  /** x = embedding[token] (* scale); the rotation angles of the token's position, for local layers their own. */
  | {
      readonly op: 'embed';
      readonly table: string;
      readonly scale: number | null;
      readonly out: string;
      readonly angles: string;
      readonly localAngles: string | null;
    }
  /** out (+)= RMS norm of the input. */
  | {
      readonly op: 'norm';
      readonly input: string;
      readonly norm: string;
      readonly size: number;
      readonly out: string;
      readonly accumulate: boolean;
    }
  /** q = RMS norm of the input (unless `norm` is null), as int8 with one scale a token. */
  | {
      readonly op: 'norm_quantise';
      readonly input: string;
      readonly norm: string | null;
      readonly size: number;
      readonly q: string;
      readonly quant: string;
    }
  /** out (+)= W q, W ternary. */
  | {
      readonly op: 'bitlinear';
      readonly use: string;
      readonly codes: string;
      readonly scales: string;
      /** How the codes are packed: a Layout's id. */
      readonly layout: string;
      /** Logical rows: those of all parts, padding between parts included. */
      readonly m: number;
      readonly k: number;
      readonly q: string;
      readonly quant: string;
      readonly out: string;
      /** Where in each token's `out` the rows go. */
      readonly row: number;
      readonly accumulate: boolean;
      /** Of look-ups, where its codes are indices into tables: rows that a chunk of tables serves, its columns, rows at once. */
      readonly tile?: TableTile;
      /**
       * What of the matrix a step of one token leaves unread. `rows`: those whose gate, which `out` holds from its first row
       * on, is zero or negative; what they would have been counts as zero. `columns`: those that meet a zero.
       */
      readonly skips?: 'rows' | 'columns';
      /** On GPUs, gate and up at once, their rows woven: `out` is this activation of gate, times up. */
      readonly gate?: Activation;
      /** Why this layout and tile. */
      readonly reason?: string;
    }
  /** Norms of the heads (unless null); rotates queries in place; rotates keys, stores them and the values in the KV cache. */
  | {
      readonly op: 'rope_store';
      readonly qkv: string;
      readonly queryNorm: string | null;
      readonly keyNorm: string | null;
      readonly angles: string;
      readonly localAngles: string | null;
    }
  /** Causal grouped-query attention over the KV cache; local layers see the last `window` positions only. */
  | { readonly op: 'attention'; readonly qkv: string; readonly window: number | null; readonly out: string }
  /** q = activation(gate) * up, RMS norm (unless null), as int8. */
  | {
      readonly op: 'gated_quantise';
      readonly input: string;
      readonly norm: string | null;
      readonly size: number;
      readonly activation: Activation;
      readonly q: string;
      readonly quant: string;
    }
  /** RMS norm of the tokens that want logits or their hidden state. */
  | { readonly op: 'final_norm'; readonly input: string; readonly norm: string; readonly out: string }
  /** logits = H h. */
  | { readonly op: 'head'; readonly table: string; readonly input: string };

/** A model as an ordered list of steps over named buffers: what every target renders. */
export interface Plan {
  readonly name: string;
  readonly architecture: string;
  readonly hyper: Hyper;
  /** Radians a position for each rotating pair, rope scaling included. */
  readonly ropeFrequencies: readonly number[];
  /** Those of local layers, where there are any. */
  readonly localFrequencies: readonly number[] | null;
  readonly maxTokens: number;
  readonly prologue: readonly Step[];
  /** Done once for each of hyper.layers layers, which differ in their weights only. */
  readonly layer: readonly Step[];
  readonly epilogue: readonly Step[];
  readonly buffers: readonly Buffer[];
  /** Bytes of workspace a token needs. */
  readonly workspaceBytes: number;
  readonly weights: {
    /** Names the file: the layouts of its codes, in order of first use. */
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

/** Work on rows of tokens: each thread reads and writes those of its own tokens only. */
const BY_TOKEN: ReadonlySet<Step['op']> = new Set(['norm', 'norm_quantise']);

/**
 * Whether all threads must have done a step before any begins the next: not between two that work on the rows of a
 * thread's own tokens, nor between matrices that share neither input nor output. Rows that are skipped wait for their gates.
 */
export function needsBarrier(step: Step, next: Step | undefined): boolean {
  if (next === undefined) return true;
  if (step.op === 'bitlinear' && next.op === 'bitlinear') {
    return step.accumulate || next.accumulate || next.skips === 'rows';
  }
  return !(BY_TOKEN.has(step.op) && BY_TOKEN.has(next.op));
}
