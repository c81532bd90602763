import { BitnetError } from '../../../errors.ts';
import type { FromServer, StartThread } from '../portable/thread.ts';
import type { EngineStart, HelperStart } from '../wasm/serve.ts';
import type { WebGlStart } from '../webgl/serve.ts';
import type { WebGpuStart } from '../webgpu/serve.ts';
import { saidOf } from './said.ts';

/** What starts Web Workers that run a script, to which `start` is the first message. */
function workersOf<Start extends { readonly role: string }>(script: string): StartThread<Start> {
  const url = URL.createObjectURL(new Blob([script], { type: 'text/javascript' }));
  return (start, receive, fail) => {
    const worker = newWorker(url, `bitnet ${start.role}`);
    worker.onmessage = ({ data }) => receive(data as FromServer);
    worker.onerror = ({ message }) => fail(message ? new Error(message) : notStarted());
    worker.postMessage(start);
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      // A page stays whatever its threads do.
      hold: () => {},
      end: async () => worker.terminate(),
    };
  };
}

/** Where a page may have none, some browsers throw, as WebKit does, and others tell the worker's `onerror`. */
function newWorker(url: string, name: string): Worker {
  try {
    return new Worker(url, { name });
  } catch (cause) {
    throw notStarted(cause);
  }
}

const notStarted = (cause?: unknown): BitnetError =>
  new BitnetError('a thread of the model could not be started', {
    cause,
    hint: 'Where the page has a Content-Security-Policy, it needs "worker-src blob:" and "script-src \'wasm-unsafe-eval\'".',
  });

let workers: StartThread<EngineStart | HelperStart | WebGpuStart> | undefined;

/** Starts a thread. Its code comes with this module: so no bundler and no server needs to know of another file. */
export const startThread: StartThread<EngineStart | HelperStart | WebGpuStart> = (start, receive, fail) => {
  workers ??= workersOf(WORKER_SOURCE);
  return workers(start, receive, fail);
};

let webGlWorkers: StartThread<WebGlStart> | undefined;

/**
 * What starts a thread of WebGL, whose code, and with it gpu.js, is fetched from beside this module when it is wanted.
 * @throws BitnetError where it is not there
 */
export async function webGlThreads(): Promise<StartThread<WebGlStart>> {
  try {
    webGlWorkers ??= workersOf((await import('./browser-webgl.js')).default);
    return webGlWorkers;
  } catch (cause) {
    throw new BitnetError(`what runs models on WebGL cannot be fetched: ${saidOf(cause)}`, {
      hint: 'The file browser-webgl.js belongs beside the one that imports it.',
      cause,
    });
  }
}
