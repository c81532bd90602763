import { BitnetError } from '../../../errors.ts';
import type { FromEngine, ToEngine } from './protocol.ts';
import { type Line, RemoteEngine } from './remote.ts';

/** A thread that an engine runs in, or that helps one. */
export interface Thread {
  post(message: ToServer, transfer: readonly ArrayBuffer[]): void;
  /** Whether the process, or the page, has to stay for it. */
  hold(held: boolean): void;
  end(): Promise<void>;
}

/** Before its engine is ready a thread is given the weights piece by piece, in order. */
export type ToServer =
  | ToEngine
  | { readonly type: 'weights'; readonly bytes: Uint8Array }
  /** They are all there, or this is what has kept them from coming. */
  | { readonly type: 'loaded'; readonly error?: string; readonly hint?: string };
export type FromServer =
  | FromEngine
  /** Threads are to be started that help it, with these. */
  | { readonly type: 'helpers'; readonly starts: readonly object[] }
  /** The pieces so far have arrived. */
  | { readonly type: 'stored'; readonly bytes: number }
  /** What held the weights is gone: they are wanted once more, from their beginning. */
  | { readonly type: 'again' };

/** Starts a thread. `receive` takes its messages, `fail` the error that it ended with. */
export type StartThread<Start> = (
  start: Start,
  receive: (message: FromServer) => void,
  fail: (error: Error) => void,
) => Thread;

/** The weights of a model, however they are come by: piece by piece, each of which is given away. */
export type Pieces = AsyncIterable<Uint8Array<ArrayBuffer>>;

/** Pieces of weights that may be on their way to the engine's thread. */
const PIECES_UNDER_WAY = 4;

/** What of the messages of an engine's thread comes before there is an engine, and the engine then. */
class Server {
  readonly #help: (starts: readonly object[]) => void;
  readonly #come: FromServer[] = [];
  #engine: RemoteEngine | undefined;
  #again: () => void = () => {};
  #error: Error | undefined;
  #look = () => {};

  /** `help` starts the threads that help it. */
  constructor(help: (starts: readonly object[]) => void) {
    this.#help = help;
  }

  /** To be called with each message of the thread. */
  readonly receive = (message: FromServer): void => {
    if (message.type === 'again') this.#again();
    else if (message.type === 'helpers') this.#startHelpers(message.starts);
    else if (message.type === 'failed') this.fail(new BitnetError(message.error, { hint: message.hint }));
    else if (this.#engine && message.type !== 'stored') this.#engine.receive(message as FromEngine);
    else {
      this.#come.push(message);
      this.#look();
    }
  };

  /** To be called with the error that the thread, or a helper of it, has ended with, or that ends it. */
  readonly fail = (error: Error): void => {
    this.#error ??= error;
    this.#look();
    this.#engine?.fail(error);
  };

  #startHelpers(starts: readonly object[]): void {
    if (this.#error) return;
    try {
      this.#help(starts);
    } catch (error) {
      this.fail(error as Error);
    }
  }

  /** The next message, of that type. @throws BitnetError where the engine has failed instead, and what its thread has ended with */
  async #next<Type extends FromServer['type']>(type: Type): Promise<Extract<FromServer, { type: Type }>> {
    for (;;) {
      if (this.#error) throw this.#error;
      if (this.#come.length > 0) break;
      await new Promise<void>((resolve) => {
        this.#look = resolve;
      });
    }
    const message = this.#come.shift()!;
    if (message.type !== type) throw new Error(`the engine's thread says ${message.type}, not ${type}`);
    return message as Extract<FromServer, { type: Type }>;
  }

  /**
   * Gives the thread its weights, and returns the engine when it is ready.
   * @throws BitnetError where there are not so many bytes of them, or the engine fails
   */
  async open(
    thread: Thread,
    weights: Pieces,
    weightsBytes: number,
    end: () => Promise<void>,
    wake: (id: number) => void,
  ): Promise<RemoteEngine> {
    await this.#feed(thread, weights, weightsBytes);
    thread.post({ type: 'loaded' }, []);
    const { facts } = await this.#next('ready');
    const line: Line = { post: (message) => thread.post(message, []), hold: (held) => thread.hold(held), end };
    this.#engine = new RemoteEngine(facts, line, wake);
    this.#again = async () => {
      try {
        await this.#feed(thread, weights, weightsBytes);
        thread.post({ type: 'loaded' }, []);
      } catch (cause) {
        const { message, hint } = cause as BitnetError;
        thread.post({ type: 'loaded', error: message, ...(hint ? { hint } : {}) }, []);
      }
    };
    return this.#engine;
  }

  async #feed(thread: Thread, weights: Pieces, weightsBytes: number): Promise<void> {
    let sent = 0;
    let under = 0;
    for await (const bytes of weights) {
      if (this.#error) throw this.#error;
      sent += bytes.length;
      if (sent > weightsBytes) break;
      thread.post({ type: 'weights', bytes }, [bytes.buffer]);
      if (++under < PIECES_UNDER_WAY) continue;
      await this.#next('stored');
      under--;
    }
    if (sent !== weightsBytes) {
      const size = sent > weightsBytes ? `more than ${weightsBytes}` : sent;
      throw new BitnetError(`the weights file holds ${size} bytes, the manifest says ${weightsBytes}`, {
        hint: 'The artifact is damaged: compile the model again.',
      });
    }
    for (; under > 0; under--) await this.#next('stored');
  }
}

/**
 * Opens a model whose engine is in a thread of its own, with the helpers that it asks for. The weights may be read again.
 * @throws BitnetError where there are not `weightsBytes` of them, or the engine fails; an error where the signal is aborted before
 */
export async function openInThread<Start extends object>(
  start: Start,
  weights: Pieces,
  weightsBytes: number,
  startThread: StartThread<Start>,
  wake: (id: number) => void,
  signal?: AbortSignal,
): Promise<RemoteEngine> {
  const started: Thread[] = [];
  const end = async () => void (await Promise.all(started.map((thread) => thread.end())));
  const server = new Server((starts) => {
    for (const one of starts as readonly Start[]) {
      const helper = startThread(one, () => {}, server.fail);
      helper.hold(false);
      started.push(helper);
    }
  });
  const thread = startThread(start, server.receive, server.fail);
  started.push(thread);
  const leave = () => server.fail(new Error('opening the model was aborted'));
  signal?.addEventListener('abort', leave);
  try {
    return await server.open(thread, weights, weightsBytes, end, wake);
  } catch (error) {
    server.fail(error as Error);
    await end();
    throw error;
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}
