import { FLOAT, type FloatEncodingName } from '../../../artifact/encodings/index.ts';

/** A table of rows in the encoding of the model file. */
export class Table {
  readonly rows: number;
  readonly cols: number;
  readonly #encoding: (typeof FLOAT)[FloatEncodingName];
  readonly #bytes: Uint8Array;
  readonly #rowBytes: number;

  constructor(encoding: FloatEncodingName, bytes: Uint8Array, rows: number, cols: number) {
    this.rows = rows;
    this.cols = cols;
    this.#encoding = FLOAT[encoding];
    this.#bytes = bytes;
    this.#rowBytes = (cols / this.#encoding.blockValues) * this.#encoding.blockBytes;
  }

  /** Decodes a row into `out`, which has as many values. */
  read(row: number, out: Float32Array): void {
    this.#encoding.decode(this.#bytes.subarray(row * this.#rowBytes, (row + 1) * this.#rowBytes), out);
  }
}
