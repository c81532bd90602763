import { createRequire } from 'node:module';
import { join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';

/** The C++ engine, as runtime/native/addon/addon.cpp offers it. */
export interface NativeAddon {
  /** Opens, checks and self-tests a compiled model on a worker thread. `wake(id)` is called when a request has news. */
  open(
    options: NativeOpenOptions,
    wake: (id: number) => void,
    /** Told the share of the weights that a GPU has. */
    uploaded: (share: number) => void,
  ): Promise<NativeEngine>;
  /** Kernels of any library, run and timed on that many threads. Its promises reject with what is wrong. */
  readonly KernelBench: new (
    threads: number,
  ) => NativeKernelBench;
  /** The same of programs for GPUs, on one of them. Throws, with the reason, where it is not there. */
  readonly GpuBench: new (
    device: number,
  ) => NativeGpuBench;
  /** The physical cores that this process may use. */
  usableCores(): number;
  /** The GPUs that NVIDIA's driver finds, in the order in which `device` counts them. Throws, with the reason, where none. */
  gpus(): Gpu[];
}

/** A GPU of this machine. */
export interface Gpu {
  readonly name: string;
  /** Ten times its compute capability: 90 is what `sm_90` is for. */
  readonly capability: number;
  /** In bytes. */
  readonly memory: number;
}

/** See kernel-bench.ts. */
export interface NativeKernelBench {
  open(library: string): Promise<void>;
  run(name: string, tokens: number, groups: number, weights: Uint8Array, q: Int8Array): Promise<Float32Array>;
  time(name: string, tokens: number, unit: number, rounds: number): Promise<number>;
  limits(): Promise<{ readBytesPerSecond: number; int8MacsPerSecond: number }>;
}

/** See gpu-bench.ts. */
export interface NativeGpuBench {
  open(library: string, layer: Uint8Array): Promise<void>;
  sums(kernel: string, tokens: number): Promise<Int32Array>;
  time(kernel: string, tokens: number, rounds: number): Promise<number>;
  limits(): Promise<{ readBytesPerSecond: number; int8MacsPerSecond: number }>;
}

export interface NativeOpenOptions {
  library: string;
  weights: string;
  weightsBytes: number;
  key: string;
  kernels: readonly { name: string; checksum: string }[];
  threads: number;
  pin: boolean;
  context: number;
  kv: 'f16' | 'f32';
  sequences: number;
  chunk: number;
  /** GPUs: one, or those that share the model. */
  devices: Int32Array;
}

export interface NativeEngine {
  readonly facts: EngineFacts;
  // Each of these starts a request and returns its number.
  generate(prompt: Int32Array, options: NativeGenerateOptions): number;
  logits(tokens: Int32Array): number;
  /** Texts: the tokens of all in a row, and how many each has. */
  embed(tokens: Int32Array, lengths: Int32Array, pooling: 'last' | 'mean' | 'cls'): number;
  score(tokens: Int32Array, window: number): number;
  measure(): number;
  /** What a request has brought since the last time. Undefined: nothing, `wake` will be called. After its end it is forgotten. */
  take(id: number): NativeOutput | undefined;
  /** Cancels and forgets a request. */
  cancel(id: number): void;
  /** Ends all requests with an error and frees the model. */
  dispose(): Promise<void>;
}

export interface EngineFacts {
  /** The GPU's name, or how many GPUs of that name; empty where the CPU computes. */
  readonly device: string;
  readonly vocab: number;
  readonly context: number;
  readonly threads: number;
  readonly chunk: number;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly workspaceBytes: number;
}

export interface NativeGenerateOptions {
  maxTokens: number;
  /** Only ids below this are generated: a head may have more rows than the tokenizer has tokens. */
  vocab: number;
  /** Read of the head only what may matter, where the sampling allows it. */
  screen: boolean;
  /** Tokens that may wait to be taken before the engine pauses this generation. */
  queue: number;
  stopTokens: Int32Array;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repetitionPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  penaltyLastN: number;
  seed: number;
  biasTokens: Int32Array;
  biases: Float64Array;
}

export interface NativeOutput {
  readonly ending: 'none' | 'done' | 'stop' | 'length' | 'context' | 'cancelled' | 'error';
  readonly error: string;
}

export interface GenerationOutput extends NativeOutput {
  readonly tokens: Int32Array;
  readonly stats: NativeStats;
}

export interface NativeStats {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly prefillNs: number;
  readonly firstTokenNs: number;
  readonly decodeTokens: number;
  readonly decodeNs: number;
  readonly counts: NativeCounts;
}

/** What steps of few tokens left unread: `bn_counts` of artifact/abi.h. */
export interface NativeCounts {
  readonly steps: number;
  readonly zeros: number;
  readonly zeroColumns: number;
  readonly screened: number;
  readonly rows: number;
  readonly screenBytes: number;
  readonly headBytes: number;
}

export interface LogitsOutput extends NativeOutput {
  readonly rows: Float32Array;
}

export interface EmbeddingOutput extends NativeOutput {
  /** Numbers of the texts that are done, and their vectors one after the other. */
  readonly texts: Int32Array;
  readonly rows: Float32Array;
}

export interface ScoreOutput extends NativeOutput {
  readonly nll: number;
  readonly tokens: number;
}

export interface MeasurementOutput extends NativeOutput {
  readonly readBytesPerSecond: number;
  readonly int8MacsPerSecond: number;
}

let loaded: NativeAddon | undefined;

/** Loads the addon that `npm install` built. @throws BitnetError where it is not there or does not load */
export function loadAddon(): NativeAddon {
  const file = join(packageRoot(), 'build', 'addon', 'bitnet.node');
  try {
    loaded ??= createRequire(import.meta.url)(file) as NativeAddon;
  } catch (cause) {
    throw new BitnetError(`the native engine cannot be loaded: ${(cause as Error).message}`, {
      hint: `It is built when the package is installed. Run "npm run install" in ${packageRoot()}; it needs CMake and a C++20 compiler.`,
      cause,
    });
  }
  return loaded;
}

/** Threads that a model runs on unless it is told otherwise: the physical cores that this process may use. */
export const defaultThreads = (): number => loadAddon().usableCores();
