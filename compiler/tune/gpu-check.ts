import { trialActivations } from '../../artifact/trial.ts';
import { referenceSums } from '../kernels/bitlinear-i2.ts';
import { t16 } from '../kernels/bitlinear-t16.ts';
import { groupBytes } from '../kernels/layout.ts';
import type { KernelShape } from '../kernels/spec.ts';
import { trialLayer } from '../render/cuda/tuning.ts';
import type { BatchClass } from './bed.ts';
import { randomBits } from './check.ts';
import type { GpuWorkbench } from './workbench.ts';

/** Row groups that differ: the matrix is made of them, over and over. A prime, so that no tile meets the same ones twice. */
const GROUPS = 17;
/** Steps that kernels are checked with: of many tokens, a whole tile of the largest and a part of another. */
const TOKENS: Readonly<Record<BatchClass, number>> = { one: 1, few: 16, some: 64, many: 300 };

/** Checks kernels of one shape on a GPU, every sum of a whole matrix, against the plain reference. */
export class GpuChecker {
  /** The matrix and what goes with it, as a tuning program has them in memory. */
  readonly layer: Uint8Array;
  readonly #shape: KernelShape;
  readonly #codes: Uint8Array;
  readonly #sums: Int32Array[] = [];

  constructor(shape: KernelShape) {
    const { m, k } = shape;
    this.#shape = shape;
    const random = randomBits(m + k);
    this.#codes = Uint8Array.from({ length: 16 * GROUPS * k }, () => random() % 3);
    // Rows of extremes.
    this.#codes.fill(0, 0, k).fill(2, k, 2 * k);
    const packed = t16.pack(this.#codes, 16 * GROUPS, k);
    const { scales, norm, bytes } = trialLayer(m, k);
    this.layer = new Uint8Array(bytes);
    const group = groupBytes(t16, k);
    for (let i = 0; i < m / 16; i++) {
      const from = (i % GROUPS) * group;
      this.layer.set(packed.subarray(from, from + group), i * group);
    }
    const floats = new Float32Array(this.layer.buffer);
    floats.fill(1, scales / 4, scales / 4 + m / 8);
    floats.fill(1, norm / 4, norm / 4 + k);
  }

  /** Whether a kernel of the program that is open gives the sums of every row and token. */
  async isExact(bench: Pick<GpuWorkbench, 'sums'>, kernel: string, takes: BatchClass): Promise<boolean> {
    const { m, k } = this.#shape;
    const tokens = TOKENS[takes];
    const found = await bench.sums(kernel, tokens);
    for (let token = 0; token < tokens; token++) {
      this.#sums[token] ??= referenceSums(this.#codes, 16 * GROUPS, k, trialActivations(k, token));
      const sums = this.#sums[token];
      for (let row = 0; row < m; row++) {
        if (found[token * m + row] !== sums[row % sums.length]) return false;
      }
    }
    return found.length === tokens * m;
  }
}
