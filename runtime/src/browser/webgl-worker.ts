// What the thread of a model on WebGL runs in a browser. Its first message says which model.
import type { ToServer } from '../portable/thread.ts';
import { serveWebGl, type WebGlStart } from '../webgl/serve.ts';
import { setImmediate } from './node/timers.ts';
import { thisThread } from './scope.ts';

const scope = thisThread();

scope.onmessage = ({ data }) => {
  const post = (message: unknown, transfer: readonly ArrayBuffer[]) => scope.postMessage(message, transfer);
  const receive = serveWebGl(data as WebGlStart, post, setImmediate);
  scope.onmessage = ({ data }) => receive(data as ToServer);
};
