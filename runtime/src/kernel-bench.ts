import { loadAddon, type NativeKernelBench } from './addon.ts';
import { refused, refusedLater } from './refused.ts';

/** Kernels of one library at a time, run and timed in native code. */
export class KernelBench {
  readonly threads: number;
  readonly #native: NativeKernelBench;

  /** @throws BitnetError where the addon is missing, or there is no memory for weights beyond the caches */
  constructor(threads: number) {
    this.threads = threads;
    this.#native = refused(() => new (loadAddon().KernelBench)(threads));
  }

  /** Takes kernels and probes from that library from now on. @throws BitnetError where it is none */
  open(library: string): Promise<void> {
    return refusedLater(this.#native.open(library));
  }

  /**
   * Integer sums, as floats, of the first `groups` row groups for `tokens` tokens: y [tokens][16 groups]. `weights` are
   * packed codes of these groups, `q` is [tokens][k padded to 16].
   */
  run(name: string, tokens: number, groups: number, weights: Uint8Array, q: Int8Array): Promise<Float32Array> {
    return refusedLater(this.#native.run(name, tokens, groups, weights, q));
  }

  /**
   * Nanoseconds of `rounds` calls for the whole matrix, on all threads, each on weights that no cache holds. Row groups are
   * handed out in runs of `unit`.
   */
  time(name: string, tokens: number, unit: number, rounds: number): Promise<number> {
    return refusedLater(this.#native.time(name, tokens, unit, rounds));
  }

  /** What the machine does at best on those threads. */
  limits(): Promise<{ readBytesPerSecond: number; int8MacsPerSecond: number }> {
    return refusedLater(this.#native.limits());
  }
}
