import { USAGE } from './device.ts';

/** What shaders call `place`. */
export interface Place {
  readonly first: number;
  readonly count: number;
  readonly window: number;
  readonly trial: boolean;
}

/** Where bindings of uniforms may begin, and how many places a buffer has. */
const ALIGNMENT = 256;
const PLACES = 64;

/** Places of launches, each distinct one once in a GPU's memory. */
export class Places {
  readonly #gpu: GPUDevice;
  readonly #known = new Map<string, GPUBufferBinding>();
  #buffer: GPUBuffer | undefined;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
  }

  at({ first, count, window, trial }: Place): GPUBufferBinding {
    const words = Uint32Array.of(first, count, window, Number(trial));
    const key = words.join();
    const known = this.#known.get(key);
    if (known) return known;
    const offset = (this.#known.size % PLACES) * ALIGNMENT;
    if (offset === 0) {
      this.#buffer = this.#gpu.createBuffer({
        label: 'places',
        size: PLACES * ALIGNMENT,
        usage: USAGE.UNIFORM | USAGE.COPY_DST,
      });
    }
    this.#gpu.queue.writeBuffer(this.#buffer!, offset, words);
    const binding = { buffer: this.#buffer!, offset, size: words.byteLength };
    this.#known.set(key, binding);
    return binding;
  }
}
