import { setMaxListeners } from 'node:events';
import { BitnetError } from '../../errors.ts';
import type { EngineFacts, NativeEngine, NativeOutput } from './addon.ts';

/** The engine's error: what is wrong, and on a second line what to do about it. */
export function engineError(text: string, cause?: unknown): BitnetError {
  const [message, hint] = text.split('\n');
  return new BitnetError(message!, { ...(hint ? { hint } : {}), cause });
}

/** An engine, whatever it computes with, its requests as async iterators. */
export class Engine {
  readonly facts: EngineFacts;
  readonly #native: NativeEngine;
  readonly #waiters: Map<number, () => void>;
  #disposed: Promise<void> | undefined;

  /**
   * Opens a compiled model. `opening` is given what is to be called with the number of a request that has news.
   * @throws BitnetError where it is not what the manifest says
   */
  static async open(opening: (wake: (id: number) => void) => Promise<NativeEngine>): Promise<Engine> {
    // The addon holds on to the callback: it must not hold on to the engine, which could then never be collected.
    const waiters = new Map<number, () => void>();
    try {
      return new Engine(await opening((id) => waiters.get(id)?.()), waiters);
    } catch (cause) {
      if (cause instanceof BitnetError) throw cause;
      throw engineError((cause as Error).message, cause);
    }
  }

  private constructor(native: NativeEngine, waiters: Map<number, () => void>) {
    this.#native = native;
    this.#waiters = waiters;
    this.facts = native.facts;
  }

  /**
   * Starts a request and yields what it brings. Leaving the loop cancels it, and so does the signal, with its reason.
   * @throws BitnetError for a request that the engine refuses, or one that ends with an error
   */
  async *run<Output extends NativeOutput>(
    start: (native: NativeEngine) => number,
    signal?: AbortSignal,
  ): AsyncGenerator<Output, void, void> {
    signal?.throwIfAborted();
    const id = this.#start(start);
    const wake = () => this.#waiters.get(id)?.();
    // Any number of requests may share a signal: Node would take many listeners for a leak.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', wake);
    let ended = false;
    try {
      while (!ended) {
        signal?.throwIfAborted();
        const output = this.#native.take(id) as Output | undefined;
        if (output === undefined) {
          await new Promise<void>((resolve) => this.#waiters.set(id, resolve));
          continue;
        }
        ended = output.ending !== 'none';
        if (output.ending === 'error') throw engineError(output.error);
        yield output;
      }
    } finally {
      signal?.removeEventListener('abort', wake);
      this.#waiters.delete(id);
      if (!ended) this.#native.cancel(id);
    }
  }

  /** Ends all requests with an error, then frees the model. May be called at any time and more than once. */
  dispose(): Promise<void> {
    this.#disposed ??= this.#native.dispose();
    return this.#disposed;
  }

  #start(start: (native: NativeEngine) => number): number {
    try {
      return start(this.#native);
    } catch (cause) {
      throw new BitnetError((cause as Error).message, { cause });
    }
  }
}
