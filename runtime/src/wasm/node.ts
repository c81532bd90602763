import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { threadEntry } from '../../../thread-entry.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import type { StartThread } from '../portable/thread.ts';
import { openWasm } from './open.ts';
import { hasRelaxedSimd } from './program.ts';
import type { EngineStart, HelperStart } from './serve.ts';

const PIECE_BYTES = 4 << 20;

/**
 * Opens a model in WebAssembly under Node. Its threads are placed by the system: `pin` is for native programs.
 * @throws BitnetError where the files are not what the manifest says, or there is no room for them
 */
export async function openWasmFiles(options: NativeOpenOptions, wake: (id: number) => void): Promise<NativeEngine> {
  enableRelaxedSimd();
  const program = new Uint8Array(await readFile(options.library));
  const weights = piecesOf(options.weights);
  return openWasm(options, { program, weights }, startThread, wake);
}

/** Node 20 has relaxed SIMD behind a switch, later ones have it without. */
export function enableRelaxedSimd(): void {
  if (!hasRelaxedSimd()) setFlagsFromString('--experimental-wasm-relaxed-simd');
}

/** A file in pieces that are nobody else's. */
async function* piecesOf(file: string): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  for await (const piece of createReadStream(file, { highWaterMark: PIECE_BYTES }))
    yield new Uint8Array(piece as Buffer);
}

const startThread: StartThread<EngineStart | HelperStart> = (start, receive, fail) => {
  const worker = new Worker(threadEntry(import.meta.url, './node-thread'), {
    eval: true,
    workerData: start,
    execArgv: [],
  });
  let ended = false;
  worker.on('message', receive);
  worker.on('error', fail);
  worker.on('exit', () => {
    if (!ended) fail(new Error('a thread of the model has ended'));
  });
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    hold: (held) => (held ? worker.ref() : worker.unref()),
    end: async () => {
      ended = true;
      await worker.terminate();
    },
  };
};
