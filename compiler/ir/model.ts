import type { TokenizerData } from '../../artifact/tokenizer.ts';

/** How a tensor's values are stored in the model file. */
export type Encoding = 'f32' | 'f16' | 'bf16' | 'q8_0' | 'q6_k' | 'q4_0' | 'i2_s' | 'tq1_0' | 'tq2_0';

/** The encodings that hold ternary weights. */
export const TERNARY: ReadonlySet<Encoding> = new Set<Encoding>(['i2_s', 'tq1_0', 'tq2_0']);

/** A tensor of the model file: where its bytes are, not the bytes. */
export interface TensorIR {
  readonly name: string;
  /** Outermost first: a matrix is [rows, cols], row r being contiguous. */
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  /** Absolute offset in the file. */
  readonly offset: number;
  readonly bytes: number;
}

export type RopeScaling =
  | { readonly kind: 'none' }
  /** Positions are divided by `factor`. */
  | { readonly kind: 'linear'; readonly factor: number }
  /** Llama 3: frequency i is divided by factors[i] (length dimensions / 2). */
  | { readonly kind: 'factors'; readonly factors: readonly number[] };

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
  readonly rope: { readonly dimensions: number; readonly base: number; readonly scaling: RopeScaling };
}

/** What every importer produces, and all the compiler knows of a model. Plain, frozen, JSON-printable. */
export interface ModelIR {
  /** `general.name`, or the file's name without its extension. */
  readonly name: string;
  /** `general.architecture`, one of those in compiler/models. */
  readonly architecture: string;
  readonly source: {
    /** Absolute path. Read by the packing stage; never written to any output. */
    readonly file: string;
    readonly bytes: number;
    readonly byteOrder: 'little' | 'big';
  };
  readonly hyper: Hyper;
  readonly tensors: readonly TensorIR[];
  readonly tokenizer: TokenizerData;
}
