import type { Executor, Token } from './executor.ts';
import type { Tell } from './request.ts';

interface Text {
  readonly number: number;
  readonly tokens: Int32Array;
}

/** Tokens [first, first + count) of a text. */
interface Part {
  readonly text: Text;
  readonly first: number;
  readonly count: number;
}

/**
 * What a model makes of whole texts: the hidden states that it ends with, one vector for each text. Many texts run in a step,
 * in a KV slot that they share between them: short ones side by side, one that is longer than a step by itself. A text's
 * vector does not depend on what it shares a step with.
 */
export class Embedding {
  readonly tell: Tell;
  readonly #pooling: 'last' | 'mean' | 'cls';
  /** The first one may have been begun. */
  #waiting: Text[];
  /** Tokens of that one. */
  #done = 0;
  readonly #pooled: Float64Array;

  /** `tokens` are those of all texts in a row, `lengths` says how many each has: at least one. Vectors have `size` values. */
  constructor(tokens: Int32Array, lengths: Int32Array, pooling: 'last' | 'mean' | 'cls', size: number, tell: Tell) {
    this.tell = tell;
    this.#pooled = new Float64Array(size);
    this.#pooling = pooling;
    let begin = 0;
    this.#waiting = Array.from(lengths, (length, number) => {
      const text = { number, tokens: tokens.subarray(begin, begin + length) };
      begin += length;
      return text;
    });
  }

  /** Runs one step of at most `chunk` tokens in that KV slot. False: it was the last. */
  async step(executor: Executor, slot: number, chunk: number): Promise<boolean> {
    const parts = this.#choose(executor, chunk);
    const batch: Token[] = [];
    let longest = 0;
    let rows = 0;
    for (const [sequence, { text, first, count }] of parts.entries()) {
      longest = Math.max(longest, text.tokens.length);
      for (let position = first; position < first + count; position++) {
        const one = this.#pooling === 'cls' ? 0 : text.tokens.length - 1;
        const wanted = this.#pooling === 'mean' || position === one;
        const id = text.tokens[position]!;
        batch.push({ id, position, sequence, logitsRow: -1, hiddenRow: wanted ? rows++ : -1 });
      }
    }
    const size = executor.embedding;
    const { hidden } = await executor.step(batch, { part: { sequence: slot, positions: longest } });

    const texts: number[] = [];
    const vectors: number[] = [];
    let row = 0;
    let token = 0;
    for (const part of parts) {
      const done = this.#pool(part, hidden.subarray(row * size));
      for (let i = 0; i < part.count; i++) if (batch[token++]!.hiddenRow >= 0) row++;
      if (!done) continue;
      texts.push(part.text.number);
      vectors.push(...this.#pooled);
      this.#waiting = this.#waiting.filter((text) => text !== part.text);
    }
    this.#done = texts.length === 0 ? this.#done + parts[0]!.count : 0;
    const found = Float32Array.from(vectors);
    if (!found.every(Number.isFinite)) {
      this.tell({ ending: 'error', error: 'the model computed hidden states that are not numbers' });
      return false;
    }
    const more = this.#waiting.length > 0;
    this.tell({ ending: more ? 'none' : 'done', error: '', texts, rows: found });
    return more;
  }

  /** The first text that waits, and those behind it that fit beside it whole. */
  #choose(executor: Executor, chunk: number): Part[] {
    const [first, ...others] = this.#waiting as [Text, ...Text[]];
    const length = first.tokens.length;
    const parts: Part[] = [{ text: first, first: this.#done, count: Math.min(length - this.#done, chunk) }];
    if (length > chunk) return parts;
    let longest = length;
    let room = chunk - length;
    for (const text of others) {
      const most = Math.max(longest, text.tokens.length);
      if (text.tokens.length > room || executor.sequencesInPart(most) <= parts.length) continue;
      parts.push({ text, first: 0, count: text.tokens.length });
      longest = most;
      room -= text.tokens.length;
    }
    return parts;
  }

  /**
   * Takes a part's hidden states, in float64 and in order of the tokens: a mean does not depend on the steps that its text was
   * cut into. True where the text is done.
   */
  #pool({ text, first, count }: Part, hidden: Float32Array): boolean {
    const size = this.#pooled.length;
    if (first === 0) this.#pooled.fill(0);
    const done = first + count === text.tokens.length;
    const here = this.#pooling === 'cls' ? first === 0 : done;
    const rows = this.#pooling === 'mean' ? count : here ? 1 : 0;
    for (let row = 0; row < rows; row++) {
      for (let i = 0; i < size; i++) this.#pooled[i]! += hidden[row * size + i]!;
    }
    if (done && this.#pooling === 'mean') {
      for (let i = 0; i < size; i++) this.#pooled[i]! /= text.tokens.length;
    }
    return done;
  }
}
