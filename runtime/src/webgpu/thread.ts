import type { NativeEngine } from '../addon.ts';
import { type FromServer, type Pieces, Server, type Thread } from '../portable/thread.ts';
import type { WebGpuOptions } from './open.ts';
import type { WebGpuStart } from './serve.ts';

/** Starts the thread that `serveWebGpu` runs in. `receive` takes its messages, `fail` the error that it ended with. */
export type StartWebGpu = (
  start: WebGpuStart,
  receive: (message: FromServer) => void,
  fail: (error: Error) => void,
) => Thread;

/**
 * Opens a model on a GPU, its engine in a thread of its own. `program` is the text of `model.json`; `weights` are read again
 * where the GPU is lost.
 * @throws BitnetError where there is no GPU or no room on it, or the files are not what the manifest says
 */
export async function openWebGpuThread(
  options: WebGpuOptions,
  program: string,
  weights: Pieces,
  startThread: StartWebGpu,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  const server = new Server();
  const thread = startThread({ role: 'webgpu', program, options }, server.receive, server.fail);
  try {
    return await server.open(thread, weights, options.weightsBytes, () => thread.end(), wake);
  } catch (error) {
    await thread.end();
    throw error;
  }
}
