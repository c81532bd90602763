import { BitnetError } from '../../errors.ts';
import { toFloat16 } from './float16.ts';

/** A way of storing real numbers in blocks of bytes. */
export interface FloatEncoding {
  readonly blockValues: number;
  readonly blockBytes: number;
  /**
   * Decodes little-endian `bytes` into `out`.
   * `bytes` holds exactly `out.length / blockValues` blocks; it may start at any address.
   */
  decode(bytes: Uint8Array, out: Float32Array): void;
  /**
   * Encodes whole blocks of values, little-endian, to the nearest the encoding has. Throws a BitnetError that names the
   * value where one cannot be held: infinities and NaN by blocks with scales, and what is beyond the range.
   */
  encode(values: Float32Array): Uint8Array<ArrayBuffer>;
  /** Turns big-endian `bytes` into little-endian, in place. */
  swapBytes(bytes: Uint8Array): void;
}

/** The error for a value that an encoding cannot hold. */
export function unheld(encoding: string, values: Float32Array, index: number): BitnetError {
  return new BitnetError(`value ${index} is ${values[index]}, which ${encoding} cannot hold`);
}

/** `bytes` itself where its address is a multiple of `alignment`, or else a copy that is. */
export function aligned(bytes: Uint8Array, alignment: number): Uint8Array {
  return bytes.byteOffset % alignment === 0 ? bytes : Uint8Array.from(bytes);
}

/** A view of `bytes` as 16-bit words, copied first if the address is odd. */
export function words16(bytes: Uint8Array): Uint16Array {
  const even = aligned(bytes, 2);
  return new Uint16Array(even.buffer, even.byteOffset, even.length >> 1);
}

/** A view of `bytes` as 32-bit words, copied first if the address is no multiple of four. */
export function words32(bytes: Uint8Array): Int32Array {
  const even = aligned(bytes, 4);
  return new Int32Array(even.buffer, even.byteOffset, even.length >> 2);
}

/** Swaps the two bytes of a 16-bit number at `start`, `start + stride`, … */
export function swap16(bytes: Uint8Array, start: number, stride: number): void {
  for (let i = start; i + 1 < bytes.length; i += stride) {
    const low = bytes[i]!;
    bytes[i] = bytes[i + 1]!;
    bytes[i + 1] = low;
  }
}

/** A 16-bit number with its two bytes swapped. */
export function swapped16(word: number): number {
  return (word >> 8) | ((word & 0xff) << 8);
}

/** The index of the value farthest from zero among `count` from `start`; refuses what is not finite. */
export function largest(encoding: string, values: Float32Array, start: number, count: number): number {
  let at = start;
  for (let i = start; i < start + count; i++) {
    const magnitude = Math.abs(values[i]!);
    if (!(magnitude < Number.POSITIVE_INFINITY)) throw unheld(encoding, values, i);
    if (magnitude > Math.abs(values[at]!)) at = i;
  }
  return at;
}

/** Stores the float16 scale of the block of values at `block`; refuses one beyond its range. */
export function setScale(
  encoding: string,
  values: Float32Array,
  block: number,
  scale: number,
  bytes: Uint8Array,
  at: number,
): void {
  const half = toFloat16(scale);
  if ((half & 0x7fff) === 0x7c00) throw unheld(encoding, values, block);
  bytes[at] = half & 0xff;
  bytes[at + 1] = half >> 8;
}

/** The nearest integer, ties to even: adding this number leaves a double no bits for a fraction. */
export function rounded(value: number): number {
  return value + 0x18000000000000 - 0x18000000000000;
}
