/**
 * Finds stop strings in a text that arrives in pieces. What could be the beginning of one is held back until it is
 * decided; a stop string and what follows it are cut off. Of several, the one that is complete first counts, and of those
 * that end together the longest: so the pieces make no difference.
 */
export class StopStrings {
  readonly #stops: readonly string[];
  #held = '';
  #found = false;

  /** `stops`: not one of them empty. */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Whether a stop string has been met: nothing comes out any more. */
  get found(): boolean {
    return this.#found;
  }

  /** Takes a piece, returns the text that is safe to show. */
  push(piece: string): string {
    if (this.#found) return '';
    const text = this.#held + piece;
    const matches = this.#stops.map((stop) => ({ start: text.indexOf(stop), length: stop.length }));
    const met = matches.filter(({ start }) => start >= 0);
    const first = met.sort((a, b) => a.start + a.length - b.start - b.length || a.start - b.start)[0];
    this.#found = first !== undefined;
    const safe = first?.start ?? text.length - this.#undecided(text);
    this.#held = this.#found ? '' : text.slice(safe);
    return text.slice(0, safe);
  }

  /** What was held back, once no more text will come. */
  end(): string {
    const rest = this.#held;
    this.#held = '';
    return rest;
  }

  /** Length of the longest end of `text` that begins a stop string. */
  #undecided(text: string): number {
    const longest = Math.max(0, ...this.#stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const end = text.slice(-length);
      if (this.#stops.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }
}
