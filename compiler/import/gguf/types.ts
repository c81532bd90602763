import { BitnetError } from '../../../errors.ts';
import type { Encoding } from '../../ir/model.ts';
import { encodedBytes } from '../encodings/index.ts';

/** A tensor type of ggml or one of its forks. */
export interface TensorType {
  readonly name: string;
  /** Bytes of a tensor, outermost dimension first. Throws a BitnetError where blocks cannot be filled. */
  bytes(shape: readonly number[]): number;
}

/** Blocks of so many values in so many bytes, which begin anew in each row. */
const blocks = (name: string, blockValues: number, blockBytes: number): TensorType => ({
  name,
  bytes(shape) {
    const cols = shape.at(-1)!;
    if (cols % blockValues !== 0) {
      throw new BitnetError(`${cols} values do not fill whole ${name} blocks of ${blockValues}`);
    }
    return shape.reduce((count, size) => count * size, blockBytes / blockValues);
  },
});

/** A type that we decode. */
const known = (encoding: Encoding): TensorType => ({
  name: encoding.toUpperCase(),
  bytes: (shape) => encodedBytes(encoding, shape),
});

/** bitnet.cpp's TL1 and TL2: the space that a tensor takes does not depend on the tile, what can be laid out in it does. */
const table = (name: string, codes: (rows: number, cols: number) => number): TensorType => ({
  name,
  bytes(shape) {
    const cols = shape.at(-1)!;
    const bytes = codes(shape.reduce((count, size) => count * size, 1) / cols, cols);
    return 32 * Math.ceil(bytes / 32) + 32;
  },
});

/** The tensor types whose number stands for them alone. */
const TYPES: ReadonlyMap<number, TensorType> = new Map([
  [0, known('f32')],
  [1, known('f16')],
  [2, known('q4_0')],
  [3, blocks('Q4_1', 32, 20)],
  [6, blocks('Q5_0', 32, 22)],
  [7, blocks('Q5_1', 32, 24)],
  [8, known('q8_0')],
  [9, blocks('Q8_1', 32, 36)],
  [10, blocks('Q2_K', 256, 84)],
  [11, blocks('Q3_K', 256, 110)],
  [12, blocks('Q4_K', 256, 144)],
  [13, blocks('Q5_K', 256, 176)],
  [14, known('q6_k')],
  [15, blocks('Q8_K', 256, 292)],
  [16, blocks('IQ2_XXS', 256, 66)],
  [17, blocks('IQ2_XS', 256, 74)],
  [18, blocks('IQ3_XXS', 256, 98)],
  [19, blocks('IQ1_S', 256, 50)],
  [20, blocks('IQ4_NL', 32, 18)],
  [21, blocks('IQ3_S', 256, 110)],
  [22, blocks('IQ2_S', 256, 82)],
  [23, blocks('IQ4_XS', 256, 136)],
  [24, blocks('I8', 1, 1)],
  [25, blocks('I16', 1, 2)],
  [26, blocks('I32', 1, 4)],
  [27, blocks('I64', 1, 8)],
  [28, blocks('F64', 1, 8)],
  [29, blocks('IQ1_M', 256, 56)],
  [30, known('bf16')],
  [31, blocks('Q4_0_4_4', 32, 18)],
  [32, blocks('Q4_0_4_8', 32, 18)],
  [33, blocks('Q4_0_8_8', 32, 18)],
  [34, known('tq1_0')],
  [35, known('tq2_0')],
  [40, blocks('NVFP4', 64, 36)],
  [41, blocks('Q1_0', 128, 18)],
  [134, known('iq1_bn')],
  [135, known('iq2_bn')],
  [335, known('iq2_bn_r4')],
]);

/** The numbers of the types that we write: an encoding has the type's name, in small letters. */
export const ENCODING_NUMBERS: Readonly<Partial<Record<Encoding, number>>> = {
  f32: 0,
  f16: 1,
  bf16: 30,
  q8_0: 8,
  q6_k: 14,
  q4_0: 2,
  i2_s: 36,
  tq1_0: 34,
  tq2_0: 35,
  tl1: 38,
  tl2: 39,
  iq1_bn: 134,
  iq2_bn: 135,
  iq2_bn_r4: 335,
};

/** One of the types that share a number. */
interface Candidate {
  readonly type: TensorType;
  /** `general.file_type` of files whose matrices are of this type. */
  readonly fileTypes: readonly number[];
  /** Whose number it is. */
  readonly engine: 'bitnet.cpp' | 'llama.cpp';
}

const I2_S = known('i2_s');
const TL1 = table('TL1', (rows, cols) => (rows * cols) / 4);
const TL2 = table('TL2', (rows, cols) => Math.floor((Math.floor(((cols - 256) * rows) / 3) * 5) / 8) + 64 * rows);

const bitnet = (type: TensorType, ...fileTypes: number[]): Candidate => ({ type, fileTypes, engine: 'bitnet.cpp' });
const llama = (type: TensorType, ...fileTypes: number[]): Candidate => ({ type, fileTypes, engine: 'llama.cpp' });

/**
 * The numbers that have been given out more than once. bitnet.cpp numbered TL2 39 until it moved to a llama.cpp that
 * has MXFP4 there, and 42 since (microsoft/BitNet issue 631); its I2_S files say file type 40, some 41 (its pull request
 * 620). 42 is llama.cpp's Q2_0, too, and that of PrismML's fork, whose groups are twice as large.
 */
const SHARED: ReadonlyMap<number, readonly Candidate[]> = new Map([
  [36, [bitnet(I2_S, 40, 41), llama(blocks('IQ4_NL_4_4', 32, 18), 25)]],
  [37, [bitnet(blocks('I8_S', 1, 1)), llama(blocks('IQ4_NL_4_8', 32, 18), 25)]],
  [38, [bitnet(TL1, 38), llama(blocks('IQ4_NL_8_8', 32, 18), 25)]],
  [39, [bitnet(TL2, 39), llama(blocks('MXFP4', 32, 17), 38)]],
  [42, [bitnet(TL2, 39), llama(blocks('Q2_0', 64, 18)), llama(blocks('Q2_0_G128', 128, 34))]],
]);

/** What a file says of itself and its tensors that helps to tell types apart. */
export interface Evidence {
  readonly alignment: number;
  /** `general.file_type` and `general.architecture`, where they are there. */
  readonly fileType: number | undefined;
  readonly architecture: string | undefined;
}

/** A tensor's type, or why it cannot be told. */
export type Resolved = { readonly type: TensorType } | { readonly name: string; readonly doubt?: string };

/**
 * The type that `number` stands for in a tensor of that shape with `space` bytes up to the next tensor.
 *
 * Where engines have given the number to different types, the space decides: a type that does not fit into it cannot
 * be, and one that fills it up to the alignment is right if it is the only one. If that leaves several, the file type
 * and the architecture decide, unless they speak for different ones.
 */
export function resolveType(number: number, shape: readonly number[], space: number, evidence: Evidence): Resolved {
  const candidates = SHARED.get(number);
  if (candidates === undefined) {
    const type = TYPES.get(number);
    return type ? { type } : { name: `number ${number}` };
  }
  const weighed = candidates.map((candidate) => weigh(candidate, shape, space, evidence));
  const only = (list: readonly Weighed[]) => (list.length === 1 ? list[0]!.candidate : undefined);
  const possible = weighed.filter(({ bytes }) => bytes <= space);
  const filling = possible.filter(({ bytes }) => space - bytes < evidence.alignment);
  const left = filling.length > 0 ? filling : possible;
  const found = only(left) ?? only(left.filter(({ reasons }) => reasons.length > 0));
  if (found) return { type: found.type };
  // Where none is possible, the shape is wrong or the file is cut off, which is refused whatever type it would be.
  if (left.length === 0) return { type: candidates[0]!.type };
  return {
    name: candidates.map(({ type }) => type.name).join(' or '),
    doubt: weighed.map(plea).join('; '),
  };
}

interface Weighed {
  readonly candidate: Candidate;
  readonly bytes: number;
  readonly reasons: readonly string[];
}

function weigh(candidate: Candidate, shape: readonly number[], space: number, evidence: Evidence): Weighed {
  const { type, fileTypes, engine } = candidate;
  const { fileType, architecture } = evidence;
  const reasons: string[] = [];
  if (fileType !== undefined && fileTypes.includes(fileType)) reasons.push(`general.file_type ${fileType}`);
  if (engine === 'bitnet.cpp' && architecture?.startsWith('bitnet')) reasons.push(`the architecture ${architecture}`);
  return { candidate, bytes: bytesOrNever(type, shape, space), reasons };
}

function bytesOrNever(type: TensorType, shape: readonly number[], space: number): number {
  try {
    return type.bytes(shape);
  } catch (error) {
    if (error instanceof BitnetError) return Math.max(space + 1, Number.MAX_SAFE_INTEGER);
    throw error;
  }
}

function plea({ candidate: { type, engine }, bytes, reasons }: Weighed): string {
  const size = bytes < Number.MAX_SAFE_INTEGER ? `${bytes} bytes` : 'a shape that it cannot hold';
  const rest = reasons.length > 0 ? `, and ${reasons.join(' and ')} speak for it` : '';
  return `as ${engine}'s ${type.name} it takes ${size}${rest}`;
}
