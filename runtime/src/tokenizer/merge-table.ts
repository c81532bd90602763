import { BitnetError } from '../../../errors.ts';
import type { MergeRules } from './merge.ts';
import type { Steps } from './slices.ts';

/**
 * Rank and result of each pair of tokens, in a hash table of ranks with open addressing: a quarter of a Map's memory.
 * The multipliers are drawn anew for each table, so that no file can be made to collide.
 */
export class MergeTable implements MergeRules {
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #results: Int32Array;
  /** Rank + 1, or 0. */
  readonly #slots: Int32Array;
  readonly #shift: number;
  readonly #leftFactor = oddFactor();
  readonly #rightFactor = oddFactor();

  constructor(count: number) {
    this.#left = new Int32Array(count);
    this.#right = new Int32Array(count);
    this.#results = new Int32Array(count);
    const bits = Math.max(1, Math.ceil(Math.log2(count * 2)));
    this.#slots = new Int32Array(2 ** bits);
    this.#shift = 32 - bits;
  }

  /** Of two equal pairs the first counts. */
  add(rank: number, left: number, right: number, result: number): void {
    const slot = this.#slotOf(left, right);
    if (this.#slots[slot] !== 0) return;
    this.#left[rank] = left;
    this.#right[rank] = right;
    this.#results[rank] = result;
    this.#slots[slot] = rank + 1;
  }

  find(left: number, right: number): number {
    return this.#slots[this.#slotOf(left, right)]! - 1;
  }

  priority(rank: number): number {
    return rank;
  }

  result(rank: number): number {
    return this.#results[rank]!;
  }

  /** Where the pair is, or would be. */
  #slotOf(left: number, right: number): number {
    const slots = this.#slots;
    let slot = (Math.imul(left, this.#leftFactor) + Math.imul(right, this.#rightFactor)) >>> this.#shift;
    for (;;) {
      const rank = slots[slot]! - 1;
      if (rank < 0 || (this.#left[rank] === left && this.#right[rank] === right)) return slot;
      slot = (slot + 1) & (slots.length - 1);
    }
  }
}

function oddFactor(): number {
  return Math.floor(Math.random() * 2 ** 32) | 1;
}

/**
 * The `left right` pairs of a vocabulary, in order of rank. Those of which a part or the result is no text token can
 * never apply, and are left out.
 * @throws BitnetError where there are none, or one is no pair
 */
export function* readMerges(merges: readonly string[], text: ReadonlyMap<string, number>): Steps<MergeTable> {
  if (merges.length === 0) throw new BitnetError('tokenizer: a gpt2 vocabulary without merges');
  const table = new MergeTable(merges.length);
  for (let rank = 0; rank < merges.length; rank++) {
    if (rank % 256 === 255) yield;
    const merge = merges[rank]!;
    const gap = merge.indexOf(' ', 1);
    if (gap < 0 || gap === merge.length - 1) {
      throw new BitnetError(`tokenizer: merge ${rank} is ${JSON.stringify(merge.slice(0, 80))}, not a pair`, {
        hint: 'Each merge is two tokens with a space between. The model file is damaged.',
      });
    }
    const first = merge.slice(0, gap);
    const second = merge.slice(gap + 1);
    const left = text.get(first);
    const right = text.get(second);
    const result = text.get(first + second);
    if (left !== undefined && right !== undefined && result !== undefined) table.add(rank, left, right, result);
  }
  return table;
}
