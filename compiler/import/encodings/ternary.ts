import type { TableTile } from '../../ir/model.ts';

/** A ternary tensor taken apart: a code of weight + 1 for each weight, and the one scale that they share. */
export interface Ternary {
  readonly codes: Uint8Array;
  readonly scale: number;
}

/** What an encoding must know besides the bytes. */
export interface TernaryLayout {
  readonly rows: number;
  readonly cols: number;
  /** Of the scales. */
  readonly byteOrder: 'little' | 'big';
  /** Of encodings whose bytes hold none. */
  readonly scale?: number | undefined;
  /** Of TL1 and TL2. */
  readonly tile?: TableTile | undefined;
}

/** A way of storing ternary weights in bytes. What cannot be is a BitnetError without the tensor's name. */
export interface TernaryEncoding {
  /** Bytes of a tensor with its scale. Throws if the encoding cannot hold that shape. */
  bytes(rows: number, cols: number, tile?: TableTile): number;
  /**
   * Fills `codes`, rows × cols at an address that is a multiple of four, from the tensor at the start of `bytes`, and
   * returns the scale. Throws on codes or scales that cannot be.
   */
  decode(bytes: Uint8Array, codes: Uint8Array, layout: TernaryLayout): number;
  /** The little-endian inverse: fills `bytes`, which are zero. Throws if it cannot hold the scale exactly. */
  encode(codes: Uint8Array, scale: number, layout: TernaryLayout, bytes: Uint8Array): void;
}
