import type { Steps } from '../../../slices.ts';

/** Which neighbours may become one symbol, and which first. */
export interface MergeRules {
  /** The rule for two symbols side by side, or -1. */
  find(left: number, right: number): number;
  /** Lower goes first; among equals the leftmost. */
  priority(rule: number): number;
  /** The symbol that replaces the two. */
  result(rule: number): number;
}

/**
 * Merges neighbours, best rule first, until no rule applies: O(n log n) for n symbols, whatever they are.
 * Works in place; returns how many symbols are left at the front of `symbols`.
 */
export function* mergeSymbols(symbols: Int32Array, rules: MergeRules): Steps<number> {
  const count = symbols.length;
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  const candidates = new Candidates(2 * count);
  const ruleAt = (at: number) => (next[at]! < count ? rules.find(symbols[at]!, symbols[next[at]!]!) : -1);
  const consider = (at: number) => {
    const rule = ruleAt(at);
    if (rule >= 0) candidates.push(rules.priority(rule), at);
  };

  for (let at = 0; at < count; at++) {
    next[at] = at + 1;
    previous[at] = at - 1;
    if (at > 0) consider(at - 1);
    if (at % 1024 === 1023) yield;
  }

  for (let turn = 1; candidates.size > 0; turn++) {
    if (turn % 1024 === 0) yield;
    const { priority, at } = candidates.pop();
    if (symbols[at]! < 0) continue;
    const rule = ruleAt(at);
    if (rule < 0 || rules.priority(rule) !== priority) continue;
    const gone = next[at]!;
    symbols[at] = rules.result(rule);
    symbols[gone] = -1;
    next[at] = next[gone]!;
    if (next[at]! < count) previous[next[at]!] = at;
    consider(at);
    if (previous[at]! >= 0) consider(previous[at]!);
  }

  let left = 0;
  for (let at = 0; at < count; at = next[at]!) {
    symbols[left++] = symbols[at]!;
    if (left % 8192 === 0) yield;
  }
  return left;
}

/** A binary heap of positions, lowest priority first, then leftmost. A position may be in it more than once. */
class Candidates {
  size = 0;
  readonly #priorities: Float64Array;
  readonly #positions: Int32Array;

  /** `capacity`: a merge takes one candidate out and puts two in at most, so twice the number of symbols is enough. */
  constructor(capacity: number) {
    this.#priorities = new Float64Array(capacity);
    this.#positions = new Int32Array(capacity);
  }

  push(priority: number, at: number): void {
    const priorities = this.#priorities;
    const positions = this.#positions;
    let hole = this.size++;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (!before(priority, at, priorities[parent]!, positions[parent]!)) break;
      priorities[hole] = priorities[parent]!;
      positions[hole] = positions[parent]!;
      hole = parent;
    }
    priorities[hole] = priority;
    positions[hole] = at;
  }

  pop(): { priority: number; at: number } {
    const priorities = this.#priorities;
    const positions = this.#positions;
    const top = { priority: priorities[0]!, at: positions[0]! };
    const size = --this.size;
    const priority = priorities[size]!;
    const at = positions[size]!;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      if (child >= size) break;
      const right = child + 1;
      if (right < size && before(priorities[right]!, positions[right]!, priorities[child]!, positions[child]!))
        child = right;
      if (!before(priorities[child]!, positions[child]!, priority, at)) break;
      priorities[hole] = priorities[child]!;
      positions[hole] = positions[child]!;
      hole = child;
    }
    priorities[hole] = priority;
    positions[hole] = at;
    return top;
  }
}

function before(priority: number, at: number, otherPriority: number, otherAt: number): boolean {
  return priority < otherPriority || (priority === otherPriority && at < otherAt);
}
