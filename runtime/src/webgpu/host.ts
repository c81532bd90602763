import type { EngineFacts } from '../addon.ts';
import { PortableEngine, type Post } from '../portable/engine.ts';
import { failureOf, type ToEngine } from '../portable/protocol.ts';
import type { WebGpuExecutor } from './executor.ts';

/**
 * The engine of a model on a GPU that may be lost: what runs then ends with the reason, and the next request finds the model
 * loaded again.
 */
export class GpuHost {
  readonly #open: () => Promise<WebGpuExecutor>;
  readonly #chunk: number;
  readonly #post: Post;
  readonly #breathe: () => Promise<void>;
  #executor!: WebGpuExecutor;
  #engine!: PortableEngine;
  /** Messages that wait for the model to be loaded again. */
  #waiting: ToEngine[] | undefined;

  /** `open` loads the model, each time anew; the rest is as PortableEngine has it. */
  constructor(open: () => Promise<WebGpuExecutor>, chunk: number, post: Post, breathe: () => Promise<void>) {
    this.#open = open;
    this.#chunk = chunk;
    this.#post = post;
    this.#breathe = breathe;
  }

  /** To be called first. */
  async open(): Promise<EngineFacts> {
    const executor = await this.#open();
    this.#executor = executor;
    this.#engine = new PortableEngine(executor, this.#chunk, this.#post, this.#breathe);
    return this.#engine.facts(executor.device.name);
  }

  /** Takes a message for the engine. */
  receive(message: ToEngine): void {
    if (this.#waiting) this.#waiting.push(message);
    else if (message.type === 'ask' && this.#executor.failure) void this.#again(message);
    else this.#engine.receive(message);
  }

  end(): void {
    this.#executor.device.gpu.destroy();
  }

  async #again(first: ToEngine): Promise<void> {
    this.#waiting = [first];
    let error: string | undefined;
    try {
      await this.open();
    } catch (cause) {
      error = failureOf(cause as Error);
    }
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const message of waiting) {
      if (error === undefined || message.type !== 'ask') this.#engine.receive(message);
      else this.#post({ type: 'news', id: message.id, news: { ending: 'error', error } }, []);
    }
  }
}
