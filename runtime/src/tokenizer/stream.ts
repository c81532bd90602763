import type { TokenStream } from './index.ts';

/** Joins the bytes of tokens into text, holding back the beginning of a character until the rest is there. */
export class TextStream implements TokenStream {
  readonly #bytesOf: (id: number) => Uint8Array;
  readonly #dropSpace: boolean;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #begun = false;

  /** `dropSpace`: leave out a space that would open the text. */
  constructor(bytesOf: (id: number) => Uint8Array, dropSpace: boolean) {
    this.#bytesOf = bytesOf;
    this.#dropSpace = dropSpace;
  }

  push(id: number): string {
    return this.#open(this.#decoder.decode(this.#bytesOf(id), { stream: true }));
  }

  end(): string {
    const rest = this.#open(this.#decoder.decode());
    this.#begun = false;
    return rest;
  }

  #open(piece: string): string {
    if (this.#begun || piece === '') return piece;
    this.#begun = true;
    return this.#dropSpace && piece.startsWith(' ') ? piece.slice(1) : piece;
  }
}
