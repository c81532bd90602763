/** A ternary tensor taken apart: a code of weight + 1 for each weight, and the one scale that they share. */
export interface Ternary {
  readonly codes: Uint8Array;
  readonly scale: number;
}

/** A way of storing ternary weights in blocks of bytes. */
export interface TernaryEncoding {
  /** The weights of a tensor are a multiple of this. */
  readonly blockValues: number;
  readonly blockBytes: number;
  /** Bytes after the last block. */
  readonly tailBytes: number;
  /**
   * Fills `codes`, whole blocks at an address that is a multiple of four, from the tensor at the start of `bytes`, and
   * returns the scale. Throws BitnetError on codes or scales that cannot be.
   */
  decode(bytes: Uint8Array, codes: Uint8Array, byteOrder: 'little' | 'big'): number;
}
