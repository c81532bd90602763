/** Runs and times kernels natively: what the tuner needs of a runtime. */
export interface Workbench {
  readonly threads: number;
  /** Takes kernels from that library from now on. */
  open(library: string): Promise<void>;
  /**
   * Integer sums, as floats, of a kernel on the first `groups` row groups: y [tokens][16 groups]. `weights` are the packed
   * codes of these groups, `q` is [tokens][k padded to 16].
   */
  run(name: string, tokens: number, groups: number, weights: Uint8Array, q: Int8Array): Promise<Float32Array>;
  /**
   * Nanoseconds of `rounds` calls of a kernel for its whole matrix, on all threads, each call on weights that no cache
   * holds. Row groups are handed out in runs of `unit`.
   */
  time(name: string, tokens: number, unit: number, rounds: number): Promise<number>;
  /** What the machine does at best on those threads. */
  limits(): Promise<{ readonly readBytesPerSecond: number; readonly int8MacsPerSecond: number }>;
}

/** Runs and times kernels of a GPU: what the tuner needs of a runtime. */
export interface GpuWorkbench {
  /** Takes kernels from that program from now on, for matrices like `layer`. */
  open(library: string, layer: Uint8Array): Promise<void>;
  /** Integer sums of a kernel on the activations of a trial: [tokens][m]. */
  sums(kernel: string, tokens: number): Promise<Int32Array>;
  /** Nanoseconds of `rounds` calls, each on weights that no cache holds. */
  time(kernel: string, tokens: number, rounds: number): Promise<number>;
  /** What the GPU does at best. */
  limits(): Promise<{ readonly readBytesPerSecond: number; readonly int8MacsPerSecond: number }>;
}

/** A compiled model that can be timed. */
export interface ModelTrial {
  /**
   * Runs a prompt of 128 tokens and some new ones: seconds that the prompt took, and that each new token did; where the model
   * is for many at once, also of a step of 64 sequences.
   */
  run(): Promise<{ readonly prefill: number; readonly perToken: number; readonly perStep?: number }>;
  close(): Promise<void>;
}

/** What the tuner needs of a runtime. */
export interface TuningRuntime {
  workbench(threads: number): Promise<Workbench>;
  /** On the GPU of that number. */
  gpuBench(device: number): Promise<GpuWorkbench>;
  /** Opens an artifact. */
  openModel(
    artifact: string,
    target: string,
    on: { readonly threads: number; readonly device: number },
  ): Promise<ModelTrial>;
}
