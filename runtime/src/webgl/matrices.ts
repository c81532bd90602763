import { GPU, type IKernelRunShortcut, Input, type Texture } from 'gpu.js';
import type { WebGlProgram } from '../../../artifact/webgl.ts';
import { BitnetError } from '../../../errors.ts';
import { type Context, longestSide, nameOf } from './context.ts';

/** What computes: a GPU, or for tests the CPU, by way of the same library. */
export type Device = Context | 'cpu';

/** Puts four floats to a texel, which kernels read at once. */
const TEXELS = `function texels(floats) {
  const at = 4 * this.thread.x;
  return [floats[at], floats[at + 1], floats[at + 2], floats[at + 3]];
}`;

/** Floats of full precision, sizes that change from call to call, and no limit of the library's to loops. */
const COMMON = {
  precision: 'single',
  tactic: 'precision',
  returnType: 'Array(4)',
  dynamicOutput: true,
  dynamicArguments: true,
  loopMaxIterations: 2 ** 24,
} as const;

/** The ternary matrices of a model in a GPU's memory, and the kernels that multiply by them. */
export class Matrices {
  /** The GPU's. */
  readonly name: string;
  readonly #program: WebGlProgram;
  readonly #device: Device;
  #blank = false;
  readonly #activations: IKernelRunShortcut;
  readonly #kernels = new Map<string, IKernelRunShortcut>();
  /** [layer][matrix] */
  readonly #codes: Texture[][];

  /** Uploads them. @throws BitnetError where the GPU has no room, or textures of another size at most */
  constructor(program: WebGlProgram, weights: Uint8Array<ArrayBuffer>, device: Device) {
    this.#program = program;
    this.#device = device;
    this.name = device === 'cpu' ? 'the CPU' : nameOf(device);
    const most = device === 'cpu' ? Number.POSITIVE_INFINITY : longestSide(device);
    const tall = program.matrices.find(({ m }) => m / 4 > most);
    if (tall) {
      throw new BitnetError(`a matrix has ${tall.m} rows, and textures of ${this.name} have room for ${4 * most}`, {
        hint: 'Take another target.',
      });
    }
    try {
      const gpu = new GPU(
        device === 'cpu' ? { mode: 'cpu' } : { mode: 'webgl2', context: device, canvas: device.canvas },
      );
      const texels = (immutable: boolean) =>
        gpu.createKernel(TEXELS, { ...COMMON, pipeline: true, immutable, output: [1] });
      const upload = texels(true);
      this.#activations = texels(false);
      for (const [name, source] of Object.entries(program.kernels)) {
        this.#kernels.set(name, gpu.createKernel(source, { ...COMMON, output: [1, 1] }));
      }
      this.#codes = Array.from({ length: program.layers }, (_, layer) =>
        program.matrices.map(({ codes, bytes }) => {
          const at = weights.byteOffset + program.layerBase + layer * program.layerBytes + codes;
          const words = new Float32Array(new Uint16Array(weights.buffer, at, bytes / 2));
          return texture(upload, words);
        }),
      );
    } catch (cause) {
      throw new BitnetError(`the GPU does not take the model: ${(cause as Error).message}`, {
        hint: 'It needs WebGL 2 with textures of floats, as large as the matrices: take another target.',
        cause,
      });
    }
    if (this.lost)
      throw new BitnetError('the GPU was lost as it was given the weights', { hint: 'Load the model again.' });
  }

  /** Whether its memory is gone, and with it all that it computes. */
  get lost(): boolean {
    return this.#blank || (this.#device !== 'cpu' && this.#device.isContextLost());
  }

  /** Sums of codes times activations, [token][row]: exact integers. `q` are rows of values that fill texels. */
  sums(layer: number, matrix: number, q: Float32Array, tokens: number): Float32Array {
    const { kernel, m } = this.#program.matrices[matrix]!;
    const run = this.#kernels.get(kernel)!;
    const activations = texture(this.#activations, q);
    run.setOutput([m / 4, tokens]);
    const rows = run(this.#codes[layer]![matrix]!, activations) as unknown as Float32Array[][];
    const sums = new Float32Array(tokens * m);
    rows.forEach((fours, token) => {
      fours.forEach((four, i) => {
        sums.set(four, token * m + 4 * i);
      });
    });
    // Of a lost GPU zeros are read, and the browser says so only when this thread rests. Codes are not negative: a whole matrix
    // gives zeros for zeros alone.
    this.#blank ||= sums.every((sum) => sum === 0) && q.some((value) => value !== 0);
    return sums;
  }
}

/** Floats as texels in the GPU's memory. */
function texture(texels: IKernelRunShortcut, floats: Float32Array): Texture {
  texels.setOutput([floats.length / 4]);
  // Its types know of plain arrays only.
  return texels(new Input(floats as unknown as number[], [floats.length])) as Texture;
}
