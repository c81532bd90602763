import type { BitnetError } from '../../../errors.ts';
import { PortableEngine, type Post } from '../portable/engine.ts';
import type { FromEngine, ToEngine } from '../portable/protocol.ts';
import { type ExecutorOptions, WasmExecutor } from './executor.ts';
import { Library, newMemory } from './library.ts';
import { type TeamPlace, work } from './team.ts';

/** What the thread is told that runs the engine. */
export interface EngineStart {
  readonly role: 'engine';
  readonly module: WebAssembly.Module;
  readonly options: ExecutorOptions;
  readonly chunk: number;
}

/** And each thread that helps it. */
export interface HelperStart {
  readonly role: 'helper';
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly place: TeamPlace;
}

/** Before the engine is ready it asks for helpers, and is given the weights piece by piece, in order. */
export type ToServer =
  | ToEngine
  | { readonly type: 'weights'; readonly bytes: Uint8Array }
  | { readonly type: 'loaded' };
export type FromServer =
  | FromEngine
  | { readonly type: 'helpers'; readonly starts: readonly HelperStart[] }
  /** The pieces so far have arrived. */
  | { readonly type: 'stored'; readonly bytes: number };

/** Runs the engine in this thread. Returns what takes the messages that come. */
export function serve(
  { module, options, chunk }: EngineStart,
  post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void,
  breathe: () => Promise<void>,
): (message: ToServer) => void {
  let engine: PortableEngine | undefined;
  let stored = 0;
  const guarded = <T>(what: () => T): T | undefined => {
    try {
      return what();
    } catch (error) {
      const { message, hint } = error as BitnetError;
      post({ type: 'failed', error: message, ...(hint ? { hint } : {}) }, []);
      return undefined;
    }
  };
  const executor = guarded(() => {
    const memory = newMemory(options.memoryLimit);
    const executor = new WasmExecutor(new Library(module, memory), options);
    const places = executor.team.places(executor.arena);
    post({ type: 'helpers', starts: places.map((place) => ({ role: 'helper', module, memory, place })) }, []);
    return executor;
  });
  if (!executor) return () => {};
  return (message) => {
    switch (message.type) {
      case 'weights':
        executor.weights.set(message.bytes, stored);
        stored += message.bytes.length;
        post({ type: 'stored', bytes: stored }, []);
        break;
      case 'loaded':
        guarded(() => {
          if (options.expected) executor.check(options.expected);
          executor.team.meet();
          engine = new PortableEngine(executor, chunk, post as Post, breathe);
          const { vocab, context, threads, weightsBytes, kvBytes, workspaceBytes } = executor;
          const facts = {
            device: '',
            vocab,
            context,
            threads,
            chunk: engine.chunk,
            weightsBytes,
            kvBytes,
            workspaceBytes,
          };
          post({ type: 'ready', facts }, []);
        });
        break;
      default:
        engine?.receive(message);
    }
  };
}

/** Helps the engine in this thread until the thread is ended. */
export function help({ module, memory, place }: HelperStart): void {
  work(new Library(module, memory), place);
}
