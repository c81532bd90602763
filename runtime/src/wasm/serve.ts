import { serve } from '../portable/serve.ts';
import type { FromServer, ToServer } from '../portable/thread.ts';
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

/** Runs the engine in this thread; it asks for helpers first. Returns what takes the messages that come. */
export function serveWasm(
  { module, options, chunk }: EngineStart,
  post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void,
  breathe: () => Promise<void>,
): (message: ToServer) => void {
  const load = () => {
    const { memory, most } = newMemory(options.memoryLimit);
    const executor = new WasmExecutor(new Library(module, memory), { ...options, memoryLimit: most });
    const places = executor.team.places(executor.arena);
    const starts = places.map((place): HelperStart => ({ role: 'helper', module, memory, place }));
    post({ type: 'helpers', starts }, []);
    return {
      get weights() {
        return executor.weights;
      },
      ready: () => {
        if (options.expected) executor.check(options.expected);
        executor.team.meet();
        return executor;
      },
    };
  };
  return serve(load, chunk, post, breathe);
}

/** Helps the engine in this thread until the thread is ended. */
export function help({ module, memory, place }: HelperStart): void {
  work(new Library(module, memory), place);
}
