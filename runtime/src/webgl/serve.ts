import { WEBGL_VERSION, type WebGlProgram } from '../../../artifact/webgl.ts';
import { readProgram } from '../portable/program.ts';
import { serve } from '../portable/serve.ts';
import type { FromServer, ToServer } from '../portable/thread.ts';
import { openContext } from './context.ts';
import { WebGlExecutor, type WebGlOptions } from './executor.ts';
import { Matrices } from './matrices.ts';
import { selfTest } from './self-test.ts';

/** What the thread is told that runs the engine. */
export interface WebGlStart {
  readonly role: 'webgl';
  /** `model.json` */
  readonly program: string;
  readonly options: WebGlOptions;
  readonly chunk: number;
}

/** Runs the engine in this thread. Returns what takes the messages that come. */
export function serveWebGl(
  { program: text, options, chunk }: WebGlStart,
  post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void,
  breathe: () => Promise<void>,
): (message: ToServer) => void {
  const load = () => {
    const program = readProgram<WebGlProgram>(text, WEBGL_VERSION, options.key);
    const executor = new WebGlExecutor(program, options);
    const ready = () => {
      executor.give((weights) => new Matrices(program, weights, openContext()));
      selfTest(executor, options.kernels);
      return executor;
    };
    return { weights: executor.weights, ready };
  };
  return serve(load, chunk, post, breathe);
}
