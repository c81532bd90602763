interface Slot {
  /** The tokens whose keys and values it holds. */
  cached: number[];
  free: boolean;
  released: number;
}

/** Which tokens each sequence of the KV cache holds, and who uses it. */
export class Slots {
  readonly #slots: Slot[];
  #clock = 0;

  constructor(count: number) {
    this.#slots = Array.from({ length: count }, () => ({ cached: [], free: true, released: 0 }));
  }

  /**
   * Takes the free slot whose cached tokens share the longest prefix with `tokens`, cut to that prefix, though at least one
   * token is left to run. Without a prefix to share (or where `reuse` is false) it is the slot that has been free for
   * longest, emptied. Undefined where no slot is free.
   */
  acquire(tokens: readonly number[], reuse: boolean): number | undefined {
    let best: number | undefined;
    let longest = 0;
    for (const [i, slot] of this.#slots.entries()) {
      if (!slot.free) continue;
      const length = reuse ? sharedPrefix(slot.cached, tokens) : 0;
      const older = best !== undefined && length === longest && slot.released < this.#slots[best]!.released;
      if (best !== undefined && length <= longest && !older) continue;
      best = i;
      longest = length;
    }
    if (best === undefined) return undefined;
    this.#slots[best]!.free = false;
    this.#slots[best]!.cached.length = longest;
    return best;
  }

  release(slot: number): void {
    this.#slots[slot]!.free = true;
    this.#slots[slot]!.released = ++this.#clock;
  }

  cached(slot: number): number[] {
    return this.#slots[slot]!.cached;
  }
}

function sharedPrefix(cached: readonly number[], tokens: readonly number[]): number {
  const limit = Math.min(cached.length, tokens.length - 1);
  let length = 0;
  while (length < limit && cached[length] === tokens[length]) length++;
  // One token is the BOS that all prompts start with: not worth the rest of somebody's cache.
  return length > 1 ? length : 0;
}
