// What a thread of a model runs in a browser: the engine, or a helper of it. Its first message says which.
import type { ToServer } from '../portable/thread.ts';
import { type EngineStart, type HelperStart, help, serveWasm } from '../wasm/serve.ts';
import { serveWebGpu, type WebGpuStart } from '../webgpu/serve.ts';
import { setImmediate } from './node/timers.ts';
import { thisThread } from './scope.ts';

const scope = thisThread();

scope.onmessage = ({ data }) => {
  const start = data as EngineStart | HelperStart | WebGpuStart;
  if (start.role === 'helper') {
    help(start);
    return;
  }
  const post = (message: unknown, transfer: readonly ArrayBuffer[]) => scope.postMessage(message, transfer);
  const receive =
    start.role === 'webgpu'
      ? serveWebGpu(navigator.gpu, start, post, setImmediate)
      : serveWasm(start, post, setImmediate);
  scope.onmessage = ({ data }) => receive(data as ToServer);
};
