import type { GpuTensor, WebGpuProgram } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';
import { type Device, USAGE } from './device.ts';

/** A stretch of the weights file in a GPU's memory, to be bound at once. */
export interface Part {
  readonly binding: GPUBufferBinding;
  /** Of what a kernel counts: rows, or groups of rows. */
  readonly first: number;
  readonly count: number;
}

interface Place {
  readonly at: number;
  readonly bytes: number;
  readonly buffer: number;
  readonly offset: number;
}

/** Where bindings may begin. */
const ALIGNMENT = 256;
/** Buffers that small tensors share are no larger, so that a driver finds room for them. */
const SHARED_BYTES = 256 << 20;
/** Bytes under way to the GPU: what is not yet there takes memory twice. */
const UNDER_WAY = 64 << 20;

const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

/**
 * The weights in a GPU's memory. A tensor that is larger than what can be bound is cut into parts, wherever its units allow.
 */
export class Weights {
  readonly bytes: number;
  readonly #parts = new Map<string, readonly Part[]>();
  readonly #places: readonly Place[];
  readonly #buffers: readonly GPUBuffer[];
  readonly #queue: GPUQueue;

  /** Takes the memory; `fill` fills it. @throws BitnetError where a unit of a tensor is larger than what can be bound */
  constructor({ gpu, maxBinding, maxBuffer }: Device, { weights, layers }: WebGpuProgram) {
    const places: Place[] = [];
    const sizes: number[] = [];
    const limit = Math.min(SHARED_BYTES, maxBuffer);
    const take = (at: number, bytes: number): Place => {
      const end = sizes.at(-1) ?? 0;
      if (sizes.length === 0 || (end > 0 && aligned(end, ALIGNMENT) + bytes > limit)) sizes.push(0);
      const offset = aligned(sizes.at(-1)!, ALIGNMENT);
      sizes[sizes.length - 1] = offset + bytes;
      places.push({ at, bytes, buffer: sizes.length - 1, offset });
      return places.at(-1)!;
    };
    const named: { name: string; place: Place; first: number; count: number }[] = [];
    const add = (name: string, base: number, tensor: GpuTensor) => {
      for (const { from, bytes, first, count } of cut(tensor, maxBinding)) {
        named.push({ name, place: take(base + tensor.offset + from, aligned(bytes, 4)), first, count });
      }
    };
    for (const tensor of weights.shared) add(`shared.${tensor.name}`, 0, tensor);
    for (let layer = 0; layer < layers; layer++) {
      const base = weights.layerBase + layer * weights.layerBytes;
      for (const tensor of weights.layer) add(`layer.${tensor.name}@${layer}`, base, tensor);
    }
    this.#places = places.sort((a, b) => a.at - b.at);
    this.#queue = gpu.queue;
    this.#buffers = sizes.map((size) =>
      gpu.createBuffer({ size: aligned(size, 4), usage: USAGE.STORAGE | USAGE.COPY_DST }),
    );
    for (const { name, place, first, count } of named) {
      const binding = { buffer: this.#buffers[place.buffer]!, offset: place.offset, size: place.bytes };
      this.#parts.set(name, [...(this.#parts.get(name) ?? []), { binding, first, count }]);
    }
    this.bytes = sizes.reduce((sum, size) => sum + size, 0);
  }

  /** The parts of a tensor: `shared.` or `layer.` and its name. */
  parts(name: string, layer: number): readonly Part[] {
    const found = this.#parts.get(name.startsWith('layer.') ? `${name}@${layer}` : name);
    if (!found) throw new Error(`the program has no tensor ${name}`);
    return found;
  }

  /**
   * Copies the weights file to the GPU as it comes. Memory stays at what is under way.
   * @throws BitnetError where it holds more or fewer bytes than it should
   */
  async fill(pieces: AsyncIterable<Uint8Array>, total: number, uploaded: (share: number) => void): Promise<void> {
    let position = 0;
    let index = 0;
    let underWay = 0;
    // What is written at a time are whole words: bytes that are left over wait for the next piece.
    let rest = new Uint8Array(0);
    for await (const piece of pieces) {
      const bytes = rest.length === 0 ? piece : joined(rest, piece);
      const whole = bytes.length - (bytes.length % 4);
      rest = bytes.slice(whole);
      for (let i = index; i < this.#places.length; i++) {
        const { at, bytes: size, buffer, offset } = this.#places[i]!;
        if (at >= position + whole) break;
        const from = Math.max(at, position);
        const to = Math.min(at + size, position + whole);
        if (from < to) {
          const slice = bytes.subarray(from - position, to - position) as Uint8Array<ArrayBuffer>;
          this.#queue.writeBuffer(this.#buffers[buffer]!, offset + from - at, slice);
        }
        if (at + size <= position + whole) index = i + 1;
      }
      position += whole;
      underWay += whole;
      if (position + rest.length > total) break;
      if (underWay < UNDER_WAY) continue;
      await this.#queue.onSubmittedWorkDone();
      underWay = 0;
      uploaded(position / total);
    }
    const size = position + rest.length;
    if (size === total) return;
    throw new BitnetError(
      `the weights file holds ${size > total ? `more than ${total}` : size} bytes, the manifest says ${total}`,
      { hint: 'The artifact is damaged: compile the model again.' },
    );
  }
}

const joined = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
};

/** Cuts a tensor into parts that can be bound. */
function* cut({ name, bytes, units }: GpuTensor, maxBinding: number) {
  const total = units ? units.total : 1;
  if (bytes <= maxBinding) {
    yield { from: 0, bytes, first: 0, count: total };
    return;
  }
  const most = units ? Math.floor(maxBinding / units.bytes) : 0;
  if (!units || most === 0) {
    throw new BitnetError(`this GPU binds ${maxBinding} bytes at most, and '${name}' has ${bytes}`, {
      hint: 'Another GPU, or another target, has room for this model.',
    });
  }
  for (let first = 0; first < total; first += most * units.places) {
    const from = (first / units.places) * units.bytes;
    const count = Math.min(most * units.places, total - first);
    yield { from, bytes: Math.min(most * units.bytes, bytes - from), first, count };
  }
}
