import type { Encoding } from '../../ir/model.ts';

/** A tensor type of ggml: blocks of so many values in so many bytes. */
export interface TensorType {
  readonly name: string;
  readonly blockValues: number;
  readonly blockBytes: number;
  /** Bytes once per tensor, after its blocks. */
  readonly tailBytes: number;
}

const type = (name: string, blockValues: number, blockBytes: number, tailBytes = 0): TensorType => ({
  name,
  blockValues,
  blockBytes,
  tailBytes,
});

/**
 * The tensor types by their number in the file. Numbers 36 to 39 have been given out twice: 36 here is bitnet.cpp's
 * I2_S (see `resolveType`), 37 its I8_S; 38 and 39, its TL1 and TL2, do not tell their size.
 */
const TYPES: ReadonlyMap<number, TensorType> = new Map([
  [0, type('F32', 1, 4)],
  [1, type('F16', 1, 2)],
  [2, type('Q4_0', 32, 18)],
  [3, type('Q4_1', 32, 20)],
  [6, type('Q5_0', 32, 22)],
  [7, type('Q5_1', 32, 24)],
  [8, type('Q8_0', 32, 34)],
  [9, type('Q8_1', 32, 36)],
  [10, type('Q2_K', 256, 84)],
  [11, type('Q3_K', 256, 110)],
  [12, type('Q4_K', 256, 144)],
  [13, type('Q5_K', 256, 176)],
  [14, type('Q6_K', 256, 210)],
  [15, type('Q8_K', 256, 292)],
  [16, type('IQ2_XXS', 256, 66)],
  [17, type('IQ2_XS', 256, 74)],
  [18, type('IQ3_XXS', 256, 98)],
  [19, type('IQ1_S', 256, 50)],
  [20, type('IQ4_NL', 32, 18)],
  [21, type('IQ3_S', 256, 110)],
  [22, type('IQ2_S', 256, 82)],
  [23, type('IQ4_XS', 256, 136)],
  [24, type('I8', 1, 1)],
  [25, type('I16', 1, 2)],
  [26, type('I32', 1, 4)],
  [27, type('I64', 1, 8)],
  [28, type('F64', 1, 8)],
  [29, type('IQ1_M', 256, 56)],
  [30, type('BF16', 1, 2)],
  [31, type('Q4_0_4_4', 32, 18)],
  [32, type('Q4_0_4_8', 32, 18)],
  [33, type('Q4_0_8_8', 32, 18)],
  [34, type('TQ1_0', 256, 54)],
  [35, type('TQ2_0', 256, 66)],
  [36, type('I2_S', 128, 32, 32)],
]);

/** The numbers of the types that can be compiled. An encoding has the type's name, in small letters. */
export const ENCODING_NUMBERS: Readonly<Record<Encoding, number>> = {
  f32: 0,
  f16: 1,
  bf16: 30,
  q8_0: 8,
  q6_k: 14,
  q4_0: 2,
  i2_s: 36,
  tq1_0: 34,
  tq2_0: 35,
};

const IQ4_NL_4_4 = type('IQ4_NL_4_4', 32, 18);

/** Names of types whose size we cannot tell, or that share their number with another. */
const UNSIZED: ReadonlyMap<number, string> = new Map([
  [37, 'I8_S'],
  [38, 'TL1'],
  [39, 'MXFP4 or TL2'],
  [40, 'NVFP4'],
  [41, 'Q1_0'],
  [42, 'Q2_0'],
  [134, 'IQ1_BN'],
  [135, 'IQ2_BN'],
]);

/**
 * The type that `number` stands for in a tensor of `count` values with `space` bytes up to the next tensor.
 * An old llama.cpp wrote 36 for IQ4_NL_4_4, whose values take more than twice the bytes of I2_S: the space tells.
 */
export function resolveType(number: number, count: number, space: number, alignment: number): TensorType | undefined {
  const type = TYPES.get(number);
  if (number !== ENCODING_NUMBERS.i2_s) return type;
  const fills = (candidate: TensorType) => {
    const rest = space - tensorBytes(candidate, count);
    return rest >= 0 && rest < alignment;
  };
  return fills(IQ4_NL_4_4) && !fills(type!) ? IQ4_NL_4_4 : type;
}

/** Bytes of `count` values. */
export function tensorBytes(type: TensorType, count: number): number {
  return (count / type.blockValues) * type.blockBytes + type.tailBytes;
}

/** What to call a type number that `resolveType` does not know. */
export function typeLabel(number: number): string {
  return UNSIZED.get(number) ?? `number ${number}`;
}
