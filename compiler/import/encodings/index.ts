import { words32 } from '../../../artifact/encodings/float.ts';
import { FLOAT } from '../../../artifact/encodings/index.ts';
import { BitnetError } from '../../../errors.ts';
import type { Encoding, TableTile, TensorIR, TernaryEncodingName } from '../../ir/model.ts';
import { hf_u8 } from './hf_u8.ts';
import { i2_s, i2_s_r4, i2_s64 } from './i2_s.ts';
import { iq1_bn, iq2_bn, iq2_bn_r4 } from './iq_bn.ts';
import { checkedScale, wholeBlocks } from './scale.ts';
import type { Ternary, TernaryEncoding } from './ternary.ts';
import { tl1, tl2 } from './tl.ts';
import { tq1_0 } from './tq1_0.ts';
import { tq2_0 } from './tq2_0.ts';

export { FLOAT16, toFloat16 } from '../../../artifact/encodings/float16.ts';
export { FLOAT, type FloatEncoding } from '../../../artifact/encodings/index.ts';
export type { FloatEncodingName, TernaryEncodingName } from '../../ir/model.ts';
export { AbsmeanQuantiser, quantiseTernary } from './quantise.ts';
export type { Ternary } from './ternary.ts';

const TERNARY: Readonly<Record<TernaryEncodingName, TernaryEncoding>> = {
  i2_s,
  i2_s64,
  i2_s_r4,
  tq1_0,
  tq2_0,
  tl1,
  tl2,
  iq1_bn,
  iq2_bn,
  iq2_bn_r4,
  hf_u8,
};

/** Whether tensors of this encoding hold ternary weights. */
export function isTernary(encoding: Encoding): encoding is TernaryEncodingName {
  return !(encoding in FLOAT);
}

/** A tensor as a matrix: what is before the last dimension are rows. */
function matrix(shape: readonly number[]): { rows: number; cols: number; count: number } {
  const cols = shape.at(-1) ?? 1;
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const count = rows * cols;
  if (Number.isSafeInteger(count) && shape.every((size) => Number.isInteger(size) && size > 0))
    return { rows, cols, count };
  throw new BitnetError(`the shape ${shape.join(' × ')} cannot be`);
}

/** Whether a tensor holds ternary weights, or real numbers that stand for them. */
export const isMatrix = ({ encoding, quantise }: TensorIR): boolean => isTernary(encoding) || quantise !== undefined;

/**
 * The bytes that a tensor of that shape (outermost dimension first) takes, padding between tensors not included.
 * `tile` is that of TL1 and TL2. Throws BitnetError if the shape does not fit the encoding or its tile.
 */
export function encodedBytes(encoding: Encoding, shape: readonly number[], tile?: TableTile): number {
  const { rows, cols } = matrix(shape);
  if (isTernary(encoding)) return TERNARY[encoding].bytes(rows, cols, tile);
  const { blockValues, blockBytes } = FLOAT[encoding];
  wholeBlocks(encoding, cols, blockValues);
  return rows * (cols / blockValues) * blockBytes;
}

/** What decoding needs besides the bytes: the order of their scales', and what those of some encodings do not tell. */
export interface TernaryOptions {
  readonly byteOrder: 'little' | 'big';
  /** Of `hf_u8`, whose bytes hold none. */
  readonly scale?: number | undefined;
  /** Of TL1 and TL2. */
  readonly tile?: TableTile | undefined;
}

/**
 * Takes a ternary tensor of that shape apart: codes 0, 1, 2 for the weights -1, 0, 1, and their common scale.
 * `bytes` starts with the tensor and may start at any address. The codes go to the start of `into` if it is given: to
 * decode many tensors into one array saves most of the time, which goes into fresh memory.
 * Throws BitnetError, without the tensor's name, if the codes or scales are not those of a ternary model with one
 * absmean scale per tensor.
 */
export function decodeTernary(
  encoding: TernaryEncodingName,
  bytes: Uint8Array,
  shape: readonly number[],
  options: TernaryOptions,
  into?: Uint8Array<ArrayBuffer>,
): Ternary {
  const { rows, cols, count } = matrix(shape);
  const needed = TERNARY[encoding].bytes(rows, cols, options.tile);
  if (bytes.length < needed) {
    throw new BitnetError(`${count} ${encoding} weights take ${needed} bytes, but there are ${bytes.length}`);
  }
  const codes = into ? new Uint8Array(into.buffer, into.byteOffset, count) : new Uint8Array(count);
  return { codes, scale: TERNARY[encoding].decode(bytes, codes, { rows, cols, ...options }) };
}

/**
 * The inverse of `decodeTernary`, little-endian: the bytes that `count` codes and their scale take in a file.
 * Throws BitnetError, without the tensor's name, where the encoding cannot hold that shape or exactly that scale.
 */
export function encodeTernary(
  encoding: TernaryEncodingName,
  codes: Uint8Array,
  scale: number,
  shape: readonly number[],
  tile?: TableTile,
): Uint8Array<ArrayBuffer> {
  const { rows, cols, count } = matrix(shape);
  if (codes.length !== count) throw new BitnetError(`${codes.length} codes are not ${shape.join(' × ')}`);
  requireTernary(codes);
  const bytes = new Uint8Array(TERNARY[encoding].bytes(rows, cols, tile));
  TERNARY[encoding].encode(codes, checkedScale(scale), { rows, cols, byteOrder: 'little', tile }, bytes);
  return bytes;
}

/** Refuses codes beyond 2. Four at a time: one by one would take longer than most encoders do. */
function requireTernary(codes: Uint8Array): void {
  const fours = words32(codes);
  let other = 0;
  for (let i = 0; i < fours.length; i++)
    other |= (fours[i]! & 0xfcfcfcfc) | (fours[i]! & (fours[i]! >>> 1) & 0x01010101);
  if (other === 0 && codes.subarray(4 * fours.length).every((code) => code <= 2)) return;
  const bad = codes.findIndex((code) => code > 2);
  throw new BitnetError(`weight ${bad} has the code ${codes[bad]}, which is not ternary`);
}
