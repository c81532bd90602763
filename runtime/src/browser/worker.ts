// What a thread of a model runs in a browser: the engine, or a helper of it. Its first message says which.
import type { ToServer } from '../portable/thread.ts';
import { type EngineStart, type HelperStart, help, serveWasm } from '../wasm/serve.ts';
import { setImmediate } from './node/timers.ts';

interface Scope {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
}

const scope = globalThis as unknown as Scope;

scope.onmessage = ({ data }) => {
  const start = data as EngineStart | HelperStart;
  if (start.role === 'helper') {
    help(start);
    return;
  }
  const receive = serveWasm(start, (message, transfer) => scope.postMessage(message, transfer), setImmediate);
  scope.onmessage = ({ data }) => receive(data as ToServer);
};
