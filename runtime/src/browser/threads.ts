import type { FromServer, Thread } from '../portable/thread.ts';
import type { EngineStart, HelperStart } from '../wasm/serve.ts';
import type { WebGpuStart } from '../webgpu/serve.ts';

let source: string | undefined;

/** Starts a Web Worker. Its code comes with this module: so no bundler and no server needs to know of another file. */
export function startThread(
  start: EngineStart | HelperStart | WebGpuStart,
  receive: (message: FromServer) => void,
  fail: (error: Error) => void,
): Thread {
  source ??= URL.createObjectURL(new Blob([WORKER_SOURCE], { type: 'text/javascript' }));
  const worker = new Worker(source, { name: `bitnet ${start.role}` });
  worker.onmessage = ({ data }) => receive(data as FromServer);
  worker.onerror = ({ message }) => fail(new Error(message || 'a thread of the model could not be started'));
  worker.postMessage(start);
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    // A page stays whatever its threads do.
    hold: () => {},
    end: async () => worker.terminate(),
  };
}
