import { BitnetError } from '../../../errors.ts';
import { type Encoding, TERNARY } from '../../ir/model.ts';
import type { FloatEncoding } from './float.ts';
import { i2_s } from './i2_s.ts';
import { bf16, f16, f32 } from './plain.ts';
import { q4_0 } from './q4_0.ts';
import { q6_k } from './q6_k.ts';
import { q8_0 } from './q8_0.ts';
import type { Ternary, TernaryEncoding } from './ternary.ts';
import { tq1_0 } from './tq1_0.ts';
import { tq2_0 } from './tq2_0.ts';

export type { FloatEncoding } from './float.ts';
export { FLOAT16, toFloat16 } from './float16.ts';
export type { Ternary } from './ternary.ts';

export type TernaryEncodingName = 'i2_s' | 'tq1_0' | 'tq2_0';
export type FloatEncodingName = Exclude<Encoding, TernaryEncodingName>;

/** The encodings of real numbers. Decoding wants a little-endian machine, as every platform of Node's but s390x is. */
export const FLOAT: Readonly<Record<FloatEncodingName, FloatEncoding>> = { f32, f16, bf16, q8_0, q6_k, q4_0 };

const TERNARY_ENCODINGS: Readonly<Record<TernaryEncodingName, TernaryEncoding>> = { i2_s, tq1_0, tq2_0 };

/** Whether tensors of this encoding hold ternary weights. */
export function isTernary(encoding: Encoding): encoding is TernaryEncodingName {
  return TERNARY.has(encoding);
}

/**
 * The bytes that `count` values take, padding between tensors not included.
 * Throws BitnetError if they do not fill whole blocks.
 */
export function encodedBytes(encoding: Encoding, count: number): number {
  const ternary = isTernary(encoding) ? TERNARY_ENCODINGS[encoding] : undefined;
  const { blockValues, blockBytes } = ternary ?? FLOAT[encoding as FloatEncodingName];
  if (!Number.isSafeInteger(count) || count < 0 || count % blockValues !== 0) {
    throw new BitnetError(`${count} values do not fill whole ${encoding} blocks of ${blockValues}`);
  }
  return (count / blockValues) * blockBytes + (ternary?.tailBytes ?? 0);
}

/**
 * Takes a ternary tensor of `count` weights apart: codes 0, 1, 2 for the weights -1, 0, 1, and their common scale.
 * `bytes` starts with the tensor and may start at any address. The codes go to the start of `into` if it is given: to
 * decode many tensors into one array saves most of the time, which goes into fresh memory.
 * Throws BitnetError, without the tensor's name, if the codes or scales are not those of a ternary model with one
 * absmean scale per tensor.
 */
export function decodeTernary(
  encoding: TernaryEncodingName,
  bytes: Uint8Array,
  count: number,
  byteOrder: 'little' | 'big',
  into: Uint8Array<ArrayBuffer> = new Uint8Array(count),
): Ternary {
  const needed = encodedBytes(encoding, count);
  if (bytes.length < needed) {
    throw new BitnetError(`${count} ${encoding} weights take ${needed} bytes, but there are ${bytes.length}`);
  }
  const codes = new Uint8Array(into.buffer, into.byteOffset, count);
  return { codes, scale: TERNARY_ENCODINGS[encoding].decode(bytes, codes, byteOrder) };
}
