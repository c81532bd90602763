import { WEBGPU_VERSION, type WebGpuProgram } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { PortableEngine } from '../portable/engine.ts';
import type { FromEngine } from '../portable/protocol.ts';
import { type Line, RemoteEngine } from '../portable/remote.ts';
import type { Device } from './device.ts';
import { lostError, WebGpuExecutor } from './executor.ts';
import { createPipelines } from './pipelines.ts';
import { selfTest } from './self-test.ts';
import { Weights } from './weights.ts';

/** The files of a model, however they are come by. */
export interface WebGpuFiles {
  /** `model.json` */
  readonly program: string;
  /** The weights, piece by piece. */
  readonly weights: AsyncIterable<Uint8Array>;
}

export type WebGpuOptions = Pick<
  NativeOpenOptions,
  'key' | 'kernels' | 'weightsBytes' | 'context' | 'kv' | 'sequences' | 'chunk'
>;

const RECOMPILE = 'The artifact is damaged or of another compilation: compile the model again.';

/** Reads a program. @throws BitnetError where it is none, of another version, or of another compilation than the manifest */
export function readProgram(text: string, key: string): WebGpuProgram {
  let program: WebGpuProgram;
  try {
    program = JSON.parse(text) as WebGpuProgram;
  } catch (cause) {
    throw new BitnetError(`the program is no JSON: ${(cause as Error).message}`, { hint: RECOMPILE, cause });
  }
  if (program.version !== WEBGPU_VERSION) {
    throw new BitnetError(`the program is of version ${program.version}, this runtime needs ${WEBGPU_VERSION}`, {
      hint: RECOMPILE,
    });
  }
  if (program.key === key) return program;
  throw new BitnetError(`the program has the key ${program.key}, the manifest says ${key}`, { hint: RECOMPILE });
}

/** A share of what is to be done before a model runs: weights that are there, and pipelines. */
export type Loaded = (share: number) => void;

/**
 * Opens a model on a GPU: its pipelines are compiled while its weights are on their way. Knows nothing of Node or browsers.
 * The device is the model's own, and destroyed with it.
 * @throws BitnetError where files are not what the manifest says, the GPU has no room, or computes other sums than it should
 */
export async function openWebGpu(
  device: Device,
  options: WebGpuOptions,
  { program: text, weights: pieces }: WebGpuFiles,
  loaded: Loaded,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  const { gpu } = device;
  let engine: RemoteEngine | undefined;
  let failure: Error | undefined;
  const fail = (error: Error) => {
    failure ??= error;
    engine?.fail(error);
  };
  gpu.addEventListener('uncapturederror', ({ error }) => fail(new BitnetError(`the GPU refuses: ${error.message}`)));
  void gpu.lost.then(({ message, reason }) => {
    if (reason !== 'destroyed') fail(lostError(message));
  });
  try {
    const executor = await openExecutor(device, options, text, pieces, loaded);
    await selfTest(executor, options.kernels);
    if (failure) throw failure;
    engine = remote(executor, options.chunk, wake);
    return engine;
  } catch (error) {
    gpu.destroy();
    throw failure ?? error;
  }
}

/** What computes, without an engine around it. */
export async function openExecutor(
  device: Device,
  options: WebGpuOptions,
  text: string,
  pieces: AsyncIterable<Uint8Array>,
  loaded: Loaded,
): Promise<WebGpuExecutor> {
  const program = readProgram(text, options.key);
  const weights = new Weights(device, program);
  let uploaded = 0;
  let compiled = 0;
  const tell = () => loaded(Math.min(uploaded, compiled));
  const [pipelines] = await Promise.all([
    createPipelines(device, program, options.kv === 'f32', (share) => {
      compiled = share;
      tell();
    }),
    weights.fill(pieces, options.weightsBytes, (share) => {
      uploaded = share;
      tell();
    }),
  ]);
  loaded(1);
  return new WebGpuExecutor(device, program, pipelines, weights, options);
}

/** An engine in this thread, which the GPU leaves free, with the face of one in another. */
function remote(executor: WebGpuExecutor, chunk: number, wake: (id: number) => void): RemoteEngine {
  const { device, vocab, context, threads, weightsBytes, kvBytes, workspaceBytes } = executor;
  let engine: RemoteEngine;
  // As between threads, nothing is shared: what one side changes, the other does not see.
  const post = (message: FromEngine, transfer: readonly ArrayBuffer[]) => {
    const own = structuredClone(message, { transfer: [...transfer] });
    queueMicrotask(() => engine.receive(own));
  };
  const portable = new PortableEngine(executor, chunk, post, async () => {});
  const line: Line = {
    post: (message) => queueMicrotask(() => portable.receive(message)),
    hold: () => {},
    end: async () => device.gpu.destroy(),
  };
  const facts = {
    device: device.name,
    vocab,
    context,
    threads,
    chunk: portable.chunk,
    weightsBytes,
    kvBytes,
    workspaceBytes,
  };
  engine = new RemoteEngine(facts, line, wake);
  return engine;
}
