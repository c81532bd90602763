import { BitnetError } from '../../../errors.ts';
import type { Post } from '../portable/engine.ts';
import { failedMessage } from '../portable/protocol.ts';
import type { FromServer, ToServer } from '../portable/thread.ts';
import { openDevice } from './device.ts';
import { GpuHost } from './host.ts';
import { openWebGpu, type WebGpuOptions } from './open.ts';

/** What the thread is told that runs the engine. */
export interface WebGpuStart {
  readonly role: 'webgpu';
  /** `model.json` */
  readonly program: string;
  readonly options: WebGpuOptions;
}

/** Runs the engine in this thread: its weights go to the GPU as they come. Returns what takes the messages. */
export function serveWebGpu(
  gpu: GPU | undefined,
  { program, options }: WebGpuStart,
  post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void,
  breathe: () => Promise<void>,
): (message: ToServer) => void {
  let feed = new Feed(post);
  let ready = false;
  const open = async () => {
    if (ready) feed = new Feed(post);
    if (!gpu) throw new BitnetError('this browser has WebGPU for pages, but not for their threads');
    const device = await openDevice(gpu);
    if (ready) post({ type: 'again' }, []);
    return openWebGpu(device, options, program, feed, () => {});
  };
  const host = new GpuHost(open, options.chunk, post as Post, breathe);
  host.open().then(
    (facts) => {
      ready = true;
      post({ type: 'ready', facts }, []);
    },
    (error: BitnetError) => post(failedMessage(error), []),
  );
  return (message) => {
    if (message.type === 'weights') feed.put(message.bytes);
    else if (message.type === 'loaded') feed.end(message.error, message.hint);
    else host.receive(message);
  };
}

/** The pieces of weights that messages bring; what sends them is told when one is taken. */
class Feed implements AsyncIterable<Uint8Array> {
  readonly #post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void;
  readonly #pieces: Uint8Array[] = [];
  #ended = false;
  #error: BitnetError | undefined;
  #look = () => {};

  constructor(post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void) {
    this.#post = post;
  }

  put(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#look();
  }

  end(error?: string, hint?: string): void {
    this.#ended = true;
    if (error !== undefined) this.#error = new BitnetError(error, hint ? { hint } : {});
    this.#look();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    let bytes = 0;
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece) {
        yield piece;
        bytes += piece.length;
        this.#post({ type: 'stored', bytes }, []);
      } else if (this.#error) throw this.#error;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#look = resolve;
        });
      }
    }
  }
}
