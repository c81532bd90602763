import { type Factors, shiftOf } from './hash.ts';

/**
 * The texts of all tokens, one after the other in one string, and which token a text is, in a hash table with open
 * addressing: ready as soon as the file that holds them has been read.
 */
export class TokenTexts {
  /** Number of tokens. */
  readonly length: number;
  readonly #all: string;
  /** Where each text begins, in UTF-16 units, and where the last one ends. */
  readonly #offsets: Uint32Array;
  /** Id + 1, or 0. */
  readonly #slots: Int32Array;
  readonly #shift: number;
  readonly #factors: Factors;

  constructor(all: string, offsets: Uint32Array, slots: Int32Array, factors: Factors) {
    this.length = offsets.length - 1;
    this.#all = all;
    this.#offsets = offsets;
    this.#slots = slots;
    this.#shift = shiftOf(slots);
    this.#factors = factors;
  }

  /** The text of a token. */
  of(id: number): string {
    return this.#all.slice(this.#offsets[id]!, this.#offsets[id + 1]!);
  }

  /** The token that plain text of this spelling becomes, or -1. */
  find(text: string): number {
    return this.#slots[this.#slotOf(text)]! - 1;
  }

  /** Lets a token be found. False: its text is another's already. */
  add(id: number): boolean {
    const slot = this.#slotOf(this.of(id));
    if (this.#slots[slot] !== 0) return false;
    this.#slots[slot] = id + 1;
    return true;
  }

  /** Where a text is, or would be. */
  #slotOf(text: string): number {
    const { first, second } = this.#factors;
    let hash = text.length;
    for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), first);
    let slot = Math.imul(hash ^ (hash >>> 15), second) >>> this.#shift;
    for (;;) {
      const id = this.#slots[slot]! - 1;
      if (id < 0 || this.#is(id, text)) return slot;
      slot = (slot + 1) & (this.#slots.length - 1);
    }
  }

  #is(id: number, text: string): boolean {
    const from = this.#offsets[id]!;
    if (this.#offsets[id + 1]! - from !== text.length) return false;
    for (let at = 0; at < text.length; at++) {
      if (this.#all.charCodeAt(from + at) !== text.charCodeAt(at)) return false;
    }
    return true;
  }
}
