/** Finds control and added tokens in a text: the leftmost, and of those the longest. */
export class SpecialTokens {
  readonly #ids: ReadonlyMap<string, number>;
  /** For each first UTF-16 unit: the lengths of the tokens that open with it, longest first. */
  readonly #lengths = new Map<number, number[]>();

  constructor(ids: ReadonlyMap<string, number>) {
    this.#ids = ids;
    for (const token of ids.keys()) {
      const lengths = this.#lengths.get(token.charCodeAt(0)) ?? [];
      if (!lengths.includes(token.length)) lengths.push(token.length);
      this.#lengths.set(token.charCodeAt(0), lengths);
    }
    for (const lengths of this.#lengths.values()) lengths.sort((a, b) => b - a);
  }

  get empty(): boolean {
    return this.#ids.size === 0;
  }

  /** The first token that begins in [from, to), or null. */
  find(text: string, from: number, to: number): { id: number; start: number; end: number } | null {
    for (let start = from; start < to; start++) {
      for (const length of this.#lengths.get(text.charCodeAt(start)) ?? []) {
        const id = this.#ids.get(text.slice(start, start + length));
        if (id !== undefined) return { id, start, end: start + length };
      }
    }
    return null;
  }
}
