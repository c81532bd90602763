import { loadAddon, type NativeGpuBench } from './addon.ts';
import { refused, refusedLater } from './refused.ts';

/** Ternary kernels of one program for GPUs at a time, tried and timed on one. */
export class GpuBench {
  readonly #native: NativeGpuBench;

  /** @throws BitnetError where there is no driver, or no GPU of that number */
  constructor(device = 0) {
    this.#native = refused(() => new (loadAddon().GpuBench)(device));
  }

  /** Takes kernels from that program from now on, for matrices like `layer`. @throws BitnetError where they do not suit */
  open(library: string, layer: Uint8Array): Promise<void> {
    return refusedLater(this.#native.open(library, layer));
  }

  /** Integer sums of a kernel on the activations of a trial: [tokens][m]. */
  sums(kernel: string, tokens: number): Promise<Int32Array> {
    return refusedLater(this.#native.sums(kernel, tokens));
  }

  /** Nanoseconds of `rounds` calls, each on weights that no cache holds. */
  time(kernel: string, tokens: number, rounds: number): Promise<number> {
    return refusedLater(this.#native.time(kernel, tokens, rounds));
  }

  /** What the GPU does at best. */
  limits(): Promise<{ readBytesPerSecond: number; int8MacsPerSecond: number }> {
    return refusedLater(this.#native.limits());
  }
}
