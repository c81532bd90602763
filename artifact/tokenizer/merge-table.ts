import { type Factors, shiftOf } from './hash.ts';

/** The columns of a merge table: row r is the pair of rank r, and the token that it becomes. */
export interface Merges {
  readonly left: Int32Array;
  readonly right: Int32Array;
  readonly results: Int32Array;
}

/** Rank and result of each pair of tokens that merges, in a hash table of ranks with open addressing. */
export class MergeTable {
  readonly #merges: Merges;
  /** Rank + 1, or 0. */
  readonly #slots: Int32Array;
  readonly #shift: number;
  readonly #factors: Factors;

  constructor(merges: Merges, slots: Int32Array, factors: Factors) {
    this.#merges = merges;
    this.#slots = slots;
    this.#shift = shiftOf(slots);
    this.#factors = factors;
  }

  /** The rank of a pair, or -1. */
  find(left: number, right: number): number {
    return this.#slots[this.#slotOf(left, right)]! - 1;
  }

  /** Lower goes first. */
  priority(rank: number): number {
    return rank;
  }

  /** The token that a pair becomes. */
  result(rank: number): number {
    return this.#merges.results[rank]!;
  }

  /** Lets the pair of a rank be found. Of two equal pairs the first that was added counts. */
  add(rank: number): void {
    const slot = this.#slotOf(this.#merges.left[rank]!, this.#merges.right[rank]!);
    if (this.#slots[slot] === 0) this.#slots[slot] = rank + 1;
  }

  /** Where a pair is, or would be. */
  #slotOf(first: number, second: number): number {
    const { left, right } = this.#merges;
    const { first: firstFactor, second: secondFactor } = this.#factors;
    let slot = (Math.imul(first, firstFactor) + Math.imul(second, secondFactor)) >>> this.#shift;
    for (;;) {
      const rank = this.#slots[slot]! - 1;
      if (rank < 0 || (left[rank] === first && right[rank] === second)) return slot;
      slot = (slot + 1) & (this.#slots.length - 1);
    }
  }
}
