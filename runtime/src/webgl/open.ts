import type { NativeEngine } from '../addon.ts';
import { type FromServer, type Pieces, Server, type Thread } from '../portable/thread.ts';
import type { WebGlOptions } from './executor.ts';
import type { WebGlStart } from './serve.ts';

/** The files of a model, however they are come by. */
export interface WebGlFiles {
  /** `model.json` */
  readonly program: string;
  readonly weights: Pieces;
}

/** Starts the thread that `serveWebGl` runs in. `receive` takes its messages, `fail` the error that it ended with. */
export type StartWebGl = (
  start: WebGlStart,
  receive: (message: FromServer) => void,
  fail: (error: Error) => void,
) => Thread;

/**
 * Opens a model on WebGL: its engine in a thread of its own, which computes what the GPU does not.
 * @throws BitnetError where the files are not what the manifest says, there is no room for them, or the GPU does not take them
 */
export async function openWebGl(
  { chunk, ...options }: WebGlOptions & { readonly chunk: number },
  { program, weights }: WebGlFiles,
  startThread: StartWebGl,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  const server = new Server();
  const thread = startThread({ role: 'webgl', program, options, chunk }, server.receive, server.fail);
  try {
    return await server.open(thread, weights, options.weightsBytes, () => thread.end(), wake);
  } catch (error) {
    await thread.end();
    throw error;
  }
}
