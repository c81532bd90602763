import type { Next, SequenceRequest, StepResult, Tell } from './request.ts';

/** Whoever reads copies a box on its event loop: small enough to take no more than a millisecond or so. */
const BOX_BYTES = 4 << 20;

/** The logits after every token, a few rows at a time, computed no faster than they are read. */
export class Logits implements SequenceRequest {
  readonly tokens: readonly number[];
  readonly reusesCache = false;
  readonly tell: Tell;
  #waiting = 0;

  constructor(tokens: Int32Array, tell: Tell) {
    this.tokens = [...tokens];
    this.tell = tell;
  }

  started(): void {}

  ready(): boolean {
    return this.#waiting === 0;
  }

  taken(count: number): void {
    this.#waiting -= count;
  }

  wantsLogits(): boolean {
    return true;
  }

  needed(): undefined {
    return undefined;
  }

  maxRows(vocab: number): number {
    return Math.max(Math.floor(BOX_BYTES / (vocab * 4)), 1);
  }

  accept({ first, count, logits }: StepResult): Next {
    const ended = first + count === this.tokens.length;
    this.#waiting++;
    this.tell({ ending: ended ? 'done' : 'none', error: '', rows: Float32Array.from(logits) });
    return ended ? 'ended' : 'more';
  }
}
