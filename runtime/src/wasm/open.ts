import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { type Pieces, Server, type StartThread, type Thread } from '../portable/thread.ts';
import { compileProgram } from './program.ts';
import type { EngineStart, HelperStart } from './serve.ts';

/** The files of a model, however they are come by. */
export interface WasmFiles {
  readonly program: Uint8Array<ArrayBuffer>;
  readonly weights: Pieces;
}

export interface WasmOptions extends Omit<NativeOpenOptions, 'library' | 'weights' | 'pin' | 'devices'> {
  /** Bytes of memory that the model may take. */
  readonly memoryLimit?: number;
}

/**
 * Opens a model in WebAssembly: its engine in a thread of its own, which computes, and with it the helpers that make up
 * `threads`. Knows nothing of Node or browsers.
 * @throws BitnetError where the program or the weights are not what the manifest says, or there is no room for them
 */
export async function openWasm(
  options: WasmOptions,
  { program, weights }: WasmFiles,
  startThread: StartThread<EngineStart | HelperStart>,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  const { module } = await compileProgram(program);
  const { key, kernels, weightsBytes, threads, context, kv, sequences, chunk, memoryLimit } = options;
  const limit = memoryLimit === undefined ? {} : { memoryLimit };
  const own = { weightsBytes, threads, context, kv, sequences, ...limit, expected: { key, kernels } };

  const started: Thread[] = [];
  const end = async () => void (await Promise.all(started.map((thread) => thread.end())));
  const server = new Server();
  const thread = startThread({ role: 'engine', module, options: own, chunk }, server.receive, server.fail);
  started.push(thread);
  try {
    const { starts } = await server.next('helpers');
    for (const start of starts as readonly HelperStart[]) {
      const helper = startThread(start, () => {}, server.fail);
      helper.hold(false);
      started.push(helper);
    }
    return await server.open(thread, weights, weightsBytes, end, wake);
  } catch (error) {
    await end();
    throw error;
  }
}
