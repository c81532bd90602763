/** A way of storing real numbers in blocks of bytes. */
export interface FloatEncoding {
  readonly blockValues: number;
  readonly blockBytes: number;
  /**
   * Decodes little-endian `bytes` into `out`.
   * `bytes` holds exactly `out.length / blockValues` blocks; it may start at any address.
   */
  decode(bytes: Uint8Array, out: Float32Array): void;
  /** Turns big-endian `bytes` into little-endian, in place. */
  swapBytes(bytes: Uint8Array): void;
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
