// What a thread of a model in WebAssembly runs under Node: the engine, or a helper of it.
import { setImmediate } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type EngineStart, type HelperStart, help, serveWasm } from './serve.ts';

const start = workerData as EngineStart | HelperStart;
if (start.role === 'helper') help(start);
else {
  const receive = serveWasm(start, (message, transfer) => parentPort!.postMessage(message, transfer), setImmediate);
  parentPort!.on('message', receive);
}
