import type { FloatEncodingName } from '../../artifact/encodings/index.ts';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';

/** How real numbers are stored in the model file. */
export type { FloatEncodingName } from '../../artifact/encodings/index.ts';

/** How ternary weights are stored in the model file: see docs/formats.md. */
export type TernaryEncodingName =
  | 'i2_s'
  | 'i2_s64'
  | 'i2_s_r4'
  | 'tq1_0'
  | 'tq2_0'
  | 'tl1'
  | 'tl2'
  | 'iq1_bn'
  | 'iq2_bn'
  | 'iq2_bn_r4'
  | 'hf_u8';

/** How a tensor's values are stored in the model file. */
export type Encoding = FloatEncodingName | TernaryEncodingName;

/** The tile that bitnet.cpp's TL1 and TL2 tensors are laid out by, from the .ini that the file was converted with. */
export interface TableTile {
  /** Rows of a tile, `bm` of the .ini. */
  readonly BM: number;
  /** Columns of a tile, `bk` of the .ini. */
  readonly BK: number;
  /** Rows computed at once, `bmm` of the .ini. */
  readonly bm: number;
}

/** A tensor of the model file: where its bytes are, not the bytes. */
export interface TensorIR {
  readonly name: string;
  /** Outermost first: a matrix is [rows, cols], row r being contiguous. */
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  /** Which of the model's `source.files` holds it. */
  readonly file: number;
  /** Absolute offset in the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Weight scale of ternary weights whose bytes hold none; what their own is multiplied by if they are quantised. */
  readonly scale?: number;
  /** Added to each value of a vector: Gemma's own norms are stored less 1. */
  readonly add?: number;
  /** Of TL1 and TL2 tensors. */
  readonly tile?: TableTile;
  /**
   * Real numbers that stand for ternary weights: `near` if they are refused unless they are near ternary, `any` if they
   * are quantised whatever they are. Set by the importers on float tensors where ternary weights are expected.
   */
  readonly quantise?: 'near' | 'any';
}

export type Activation = 'relu2' | 'silu' | 'gelu';
/** Which pairs of a head rotate together: (i, i + d/2), or (2i, 2i + 1). */
export type RopePairs = 'half' | 'interleaved';

export type RopeScaling =
  | { readonly kind: 'none' }
  /** Positions are divided by `factor`. */
  | { readonly kind: 'linear'; readonly factor: number }
  /** Llama 3: frequency i is divided by factors[i] (length dimensions / 2). */
  | { readonly kind: 'factors'; readonly factors: readonly number[] };

/** Layers that attend to the latest positions only. */
export interface AttentionWindow {
  /** How many positions such a layer attends to, the query's own included. */
  readonly positions: number;
  /** Which layers are such: one entry a layer. The others attend to all positions so far. */
  readonly local: readonly boolean[];
  /** Base of their rotary frequencies, which are never scaled. */
  readonly ropeBase: number;
}

/** How the hidden states of a text become its embedding: the last token's, their mean, or the first token's. */
export type Pooling = 'last' | 'mean' | 'cls';

/** The hyper-parameters of a decoder-only transformer. */
export interface Hyper {
  readonly layers: number;
  readonly embedding: number;
  readonly ffn: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly context: number;
  readonly normEpsilon: number;
  /** Between gate and up projection. */
  readonly activation: Activation;
  readonly rope: {
    readonly dimensions: number;
    readonly base: number;
    readonly pairs: RopePairs;
    readonly scaling: RopeScaling;
  };
  /** What attention scores are multiplied by; 1 / sqrt(headDim) where it is left out. */
  readonly attentionScale?: number;
  /** Left out where every layer attends to all positions. */
  readonly window?: AttentionWindow;
}

/** What every importer produces, and all the compiler knows of a model. Plain, frozen, JSON-printable. */
export interface ModelIR {
  /** `general.name`, or the file's name without its extension. */
  readonly name: string;
  /** `general.architecture`, one of those in compiler/models. */
  readonly architecture: string;
  readonly source: {
    /** The file or folder that was imported, absolute. Never written to any output, as the paths below. */
    readonly path: string;
    /** The files that hold tensors. */
    readonly files: readonly { readonly path: string; readonly bytes: number }[];
    readonly byteOrder: 'little' | 'big';
  };
  readonly hyper: Hyper;
  /** Of an embedding model, where it says. */
  readonly pooling?: Pooling;
  readonly tensors: readonly TensorIR[];
  readonly tokenizer: TokenizerData;
}
