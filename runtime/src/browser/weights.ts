import type { Pieces } from '../portable/thread.ts';
import type { WantedFile } from './download.ts';
import type { Source } from './source.ts';

/**
 * The weights of a model on their way to its engine. A GPU that is lost later is given them once more: then nobody waits for
 * them, so nobody is told of them and no signal ends them.
 */
export class Weights implements Pieces {
  /** Whether the model is still being opened. */
  opening = true;
  readonly #source: Source;
  readonly #file: WantedFile;
  readonly #told: (loaded: number) => void;
  readonly #signal: AbortSignal | undefined;
  #awaited = false;

  /** `told` hears how many bytes have come. */
  constructor(source: Source, file: WantedFile, told: (loaded: number) => void, signal: AbortSignal | undefined) {
    this.#source = source;
    this.#file = file;
    this.#told = told;
    this.#signal = signal;
  }

  /** Whether the source has yet to give a piece, or has failed to. */
  get awaited(): boolean {
    return this.#awaited;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    return this.opening ? this.#watched() : this.#source.read(this.#file);
  }

  async *#watched(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    let loaded = 0;
    this.#awaited = true;
    for await (const piece of this.#source.read(this.#file, this.#signal)) {
      loaded += piece.length;
      this.#told(loaded);
      this.#signal?.throwIfAborted();
      this.#awaited = false;
      yield piece;
      this.#awaited = true;
    }
    this.#awaited = false;
  }
}
