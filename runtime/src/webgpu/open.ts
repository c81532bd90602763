import { WEBGPU_VERSION, type WebGpuProgram } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { readProgram } from '../portable/program.ts';
import type { FromEngine } from '../portable/protocol.ts';
import { type Line, RemoteEngine } from '../portable/remote.ts';
import { noRoom } from '../portable/room.ts';
import type { Device } from './device.ts';
import { lostError, WebGpuExecutor } from './executor.ts';
import { GpuHost } from './host.ts';
import { createPipelines } from './pipelines.ts';
import { selfTest } from './self-test.ts';
import { Weights } from './weights.ts';

export type WebGpuOptions = Pick<
  NativeOpenOptions,
  'key' | 'kernels' | 'weightsBytes' | 'context' | 'kv' | 'sequences' | 'chunk'
> & {
  /** Bytes of memory that the model may take. */
  readonly memoryLimit?: number;
};

/** A share of what is to be done before a model runs: weights that are there, and pipelines. */
export type Loaded = (share: number) => void;

/**
 * Opens a model on a GPU: its pipelines are compiled while its weights come, piece by piece. Knows nothing of Node or browsers.
 * The device is the model's own, and destroyed with it. `program` is the text of `model.json`.
 * @throws BitnetError where files are not what the manifest says, the GPU has no room, or computes other sums than it should
 */
export async function openWebGpu(
  device: Device,
  options: WebGpuOptions,
  program: string,
  pieces: AsyncIterable<Uint8Array>,
  loaded: Loaded,
): Promise<WebGpuExecutor> {
  const { gpu } = device;
  let executor: WebGpuExecutor | undefined;
  let failure: BitnetError | undefined;
  const fail = (error: BitnetError) => {
    failure ??= error;
    executor?.fail(error);
  };
  gpu.addEventListener('uncapturederror', ({ error }) => fail(new BitnetError(`the GPU refuses: ${error.message}`)));
  void gpu.lost.then(({ message }) => fail(lostError(message)));
  try {
    executor = await openExecutor(device, options, program, pieces, loaded);
    await selfTest(executor, options.kernels);
    if (failure) throw failure;
    return executor;
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
  const whole = readProgram<WebGpuProgram>(text, WEBGPU_VERSION, options.key);
  const program = device.fallback ? withoutFused(whole) : whole;
  const weights = new Weights(device, program);
  checkRoom(weights.bytes, options.memoryLimit);
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
  const executor = new WebGpuExecutor(device, program, pipelines, weights, options);
  checkRoom(executor.weightsBytes + executor.kvBytes + executor.workspaceBytes, options.memoryLimit);
  return executor;
}

/** Without kernels that quantise for themselves: they do so in each workgroup, with barriers, which are dear on CPUs. */
function withoutFused(program: WebGpuProgram): WebGpuProgram {
  const [first, ...programs] = program.programs;
  const used = new Set(programs.flatMap(({ layer }) => layer.map(({ shader }) => shader)));
  const unused = new Set(first!.layer.map(({ shader }) => shader).filter((shader) => !used.has(shader)));
  return {
    ...program,
    programs,
    shaders: Object.fromEntries(Object.entries(program.shaders).filter(([name]) => !unused.has(name))),
    trials: program.trials.filter(({ launch }) => !unused.has(launch.shader)),
  };
}

function checkRoom(bytes: number, limit = Number.POSITIVE_INFINITY): void {
  if (bytes > limit) throw noRoom('the model', bytes, limit);
}

/** An engine in this thread, which the GPU leaves free, with the face of one in another. */
export async function openHere(
  open: () => Promise<WebGpuExecutor>,
  chunk: number,
  wake: (id: number) => void,
): Promise<NativeEngine> {
  let engine: RemoteEngine;
  // As between threads, nothing is shared: what one side changes, the other does not see.
  const post = (message: FromEngine, transfer: readonly ArrayBuffer[]) => {
    const own = structuredClone(message, { transfer: [...transfer] });
    queueMicrotask(() => engine.receive(own));
  };
  const host = new GpuHost(open, chunk, post, async () => {});
  const line: Line = {
    post: (message) => queueMicrotask(() => host.receive(message)),
    hold: () => {},
    end: async () => host.end(),
  };
  engine = new RemoteEngine(await host.open(), line, wake);
  return engine;
}
