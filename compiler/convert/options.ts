import type { ImportOptions } from '../import/options.ts';
import type { Encoding } from '../ir/model.ts';

export const FORMATS = ['gguf', 'safetensors'] as const;
export type Format = (typeof FORMATS)[number];

/** What the ternary matrices of a GGUF file can be stored as. The last two hold them as real numbers. */
export const WEIGHT_TYPES = ['i2_s', 'tq1_0', 'tq2_0', 'tl1', 'tl2', 'f16', 'bf16'] as const;
export type WeightType = (typeof WEIGHT_TYPES)[number];

/** What the embedding table and the head can be made. */
export const EMBED_TYPES = ['f16', 'q8_0', 'q6_k', 'q4_0'] as const;
export type EmbedType = (typeof EMBED_TYPES)[number];

export interface ConvertProgress {
  readonly stage: 'survey' | 'write' | 'check';
  readonly message: string;
  /** Of the stage, from 0 to 1. */
  readonly fraction: number;
}

/** How a model is converted, and what its file does not say of itself. */
export interface ConvertOptions extends ImportOptions {
  readonly to: Format;
  /** Default: `i2_s` in GGUF files, packed bytes (two bits a weight) in SafeTensors. */
  readonly type?: WeightType;
  /** Default: as they are in the input, or exactly as large in a format that has no such type. */
  readonly embedType?: EmbedType;
  readonly onProgress?: (progress: ConvertProgress) => void;
  readonly signal?: AbortSignal;
}

/** What became of a tensor, as found when the result was read back. */
export interface TensorReport {
  /** As in GGUF files. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Undefined for a tensor that the input did not have. */
  readonly from: Encoding | undefined;
  readonly to: Encoding;
  /** Ternary codes, or values, are those of the input, bit for bit. Of ternary tensors always true. */
  readonly equal: boolean;
  /** The greatest difference of a value, where a smaller type was asked for. */
  readonly greatestError: number;
  /** The scale of ternary weights, which is the input's bit for bit. */
  readonly scale?: number;
}

export interface ConvertReport {
  /** The file or folder, absolute. */
  readonly output: string;
  readonly format: Format;
  /** What its ternary matrices are stored as. */
  readonly weights: Encoding;
  /** Of the files that hold tensors. */
  readonly bytes: number;
  /** The .ini that reading TL1 or TL2 tensors needs: the one given, or `<output>.ini` with the tiles that were chosen. */
  readonly config: string | undefined;
  readonly tensors: readonly TensorReport[];
  /** What else was done, a sentence each. */
  readonly notes: readonly string[];
}
