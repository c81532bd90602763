import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { openInThread, type Pieces, type StartThread } from '../portable/thread.ts';
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
  signal?: AbortSignal,
): Promise<NativeEngine> {
  const { module } = await compileProgram(program);
  const { key, kernels, weightsBytes, threads, context, kv, sequences, chunk, memoryLimit } = options;
  const limit = memoryLimit === undefined ? {} : { memoryLimit };
  const own = { weightsBytes, threads, context, kv, sequences, ...limit, expected: { key, kernels } };
  const start = { role: 'engine', module, options: own, chunk } as const;
  return openInThread(start, weights, weightsBytes, startThread, wake, signal);
}
