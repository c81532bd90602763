import { BitnetError } from '../../../errors.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { type Line, RemoteEngine } from '../portable/remote.ts';
import { compileProgram } from './program.ts';
import type { EngineStart, FromServer, HelperStart, ToServer } from './serve.ts';

/** A thread that `serve` or `help` runs in. */
export interface Thread {
  post(message: ToServer, transfer: readonly ArrayBuffer[]): void;
  /** Whether the process, or the page, has to stay for it. */
  hold(held: boolean): void;
  end(): Promise<void>;
}

/** Starts a thread. `receive` takes its messages, `fail` the error that it ended with. */
export type StartThread = (
  start: EngineStart | HelperStart,
  receive: (message: FromServer) => void,
  fail: (error: Error) => void,
) => Thread;

/** The files of a model, however they are come by. */
export interface WasmFiles {
  readonly program: Uint8Array<ArrayBuffer>;
  /** The weights, piece by piece; each piece is given away. */
  readonly weights: AsyncIterable<Uint8Array<ArrayBuffer>>;
}

export interface WasmOptions extends Omit<NativeOpenOptions, 'library' | 'weights' | 'pin' | 'devices'> {
  /** Bytes of memory that the model may take. */
  readonly memoryLimit?: number;
}

/** Pieces of weights that may be on their way to the engine's thread. */
const PIECES_UNDER_WAY = 4;

/**
 * Opens a model in WebAssembly: its engine in a thread of its own, which computes, and with it the helpers that make up
 * `threads`. Knows nothing of Node or browsers.
 * @throws BitnetError where the program or the weights are not what the manifest says, or there is no room for them
 */
export async function openWasm(
  options: WasmOptions,
  { program, weights }: WasmFiles,
  startThread: StartThread,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  const { module } = await compileProgram(program);
  const { key, kernels, weightsBytes, threads, context, kv, sequences, chunk, memoryLimit } = options;
  const limit = memoryLimit === undefined ? {} : { memoryLimit };
  const own = { weightsBytes, threads, context, kv, sequences, ...limit, expected: { key, kernels } };

  const started: Thread[] = [];
  const end = async () => void (await Promise.all(started.map((thread) => thread.end())));
  let engine: RemoteEngine | undefined;
  const mail = new Mail();
  const fail = (error: Error) => {
    mail.fail(error);
    engine?.fail(error);
  };
  const server = startThread(
    { role: 'engine', module, options: own, chunk },
    (message) => (engine ? engine.receive(message as Parameters<RemoteEngine['receive']>[0]) : mail.put(message)),
    fail,
  );
  started.push(server);
  try {
    const { starts } = await mail.next('helpers');
    for (const start of starts) {
      const helper = startThread(start, () => {}, fail);
      helper.hold(false);
      started.push(helper);
    }
    let sent = 0;
    let under = 0;
    for await (const bytes of weights) {
      sent += bytes.length;
      if (sent > weightsBytes) break;
      server.post({ type: 'weights', bytes }, [bytes.buffer]);
      if (++under < PIECES_UNDER_WAY) continue;
      await mail.next('stored');
      under--;
    }
    if (sent !== weightsBytes) {
      const size = sent > weightsBytes ? `more than ${weightsBytes}` : sent;
      throw new BitnetError(`the weights file holds ${size} bytes, the manifest says ${weightsBytes}`, {
        hint: 'The artifact is damaged: compile the model again.',
      });
    }
    for (; under > 0; under--) await mail.next('stored');
    server.post({ type: 'loaded' }, []);
    const { facts } = await mail.next('ready');
    const line: Line = { post: (message) => server.post(message, []), hold: (held) => server.hold(held), end };
    engine = new RemoteEngine(facts, line, wake);
    return engine;
  } catch (error) {
    await end();
    throw error;
  }
}

/** Messages that come before there is an engine, awaited one after the other. */
class Mail {
  readonly #come: FromServer[] = [];
  #error: Error | undefined;
  #look = () => {};

  put(message: FromServer): void {
    this.#come.push(message);
    this.#look();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#look();
  }

  /** The next message, of that type. @throws BitnetError where the engine has failed instead, and what its thread has ended with */
  async next<Type extends FromServer['type']>(type: Type): Promise<Extract<FromServer, { type: Type }>> {
    while (this.#come.length === 0) {
      if (this.#error) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#look = resolve;
      });
    }
    const message = this.#come.shift()!;
    if (message.type === 'failed') throw new BitnetError(message.error, message.hint ? { hint: message.hint } : {});
    if (message.type !== type) throw new Error(`the engine's thread says ${message.type}, not ${type}`);
    return message as Extract<FromServer, { type: Type }>;
  }
}
