import { pad16 } from '../ir/plan.ts';
import { referenceSums } from '../kernels/bitlinear-i2.ts';
import { layoutOf } from '../kernels/index.ts';
import type { KernelShape } from '../kernels/spec.ts';
import type { Candidate } from './candidates.ts';
import type { Workbench } from './workbench.ts';

/** Rows enough for a whole tile of every family, and a part of one. */
const MOST_ROWS = 1024 + 16;
/** Tokens enough for a whole tile, some fours, and some single ones. */
const TOKENS = { one: 1, many: 29 } as const;

/** Random numbers, the same every time: 32 bits at a time. */
export function randomBits(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state ^ (state >>> 15)) >>> 0;
  };
}

/** Checks kernels of one shape bit for bit against the plain reference, before they are timed. */
export class Checker {
  readonly #rows: number;
  readonly #k: number;
  readonly #codes: Uint8Array;
  readonly #q: Int8Array[];
  readonly #packed = new Map<string, Uint8Array>();
  readonly #sums: Int32Array[] = [];

  constructor({ m, k }: KernelShape) {
    this.#rows = Math.min(m, MOST_ROWS);
    this.#k = k;
    const random = randomBits(m + k);
    this.#codes = Uint8Array.from({ length: this.#rows * k }, () => random() % 3);
    // Rows of extremes: the largest sums that there can be.
    this.#codes.fill(0, 0, k).fill(2, k, 2 * k);
    this.#q = Array.from({ length: TOKENS.many }, (_, token) =>
      Int8Array.from({ length: k }, () => (token === 1 ? -128 : (random() % 256) - 128)),
    );
  }

  /** Whether a kernel of the library that is open computes what it should. */
  async isExact(
    bench: Workbench,
    { spec, layout, takes }: Pick<Candidate, 'spec' | 'layout'> & { readonly takes: 'one' | 'many' },
  ): Promise<boolean> {
    const tokens = TOKENS[takes];
    const columns = pad16(this.#k);
    const q = new Int8Array(tokens * columns);
    for (let token = 0; token < tokens; token++) q.set(this.#q[token]!, token * columns);
    let packed = this.#packed.get(layout);
    if (!packed) {
      packed = layoutOf(layout).pack(this.#codes, this.#rows, this.#k);
      this.#packed.set(layout, packed);
    }
    const y = await bench.run(spec.name, tokens, this.#rows / 16, packed, q);
    for (let token = 0; token < tokens; token++) {
      this.#sums[token] ??= referenceSums(this.#codes, this.#rows, this.#k, this.#q[token]!);
      const sums = this.#sums[token];
      for (let row = 0; row < this.#rows; row++) if (y[token * this.#rows + row] !== sums[row]) return false;
    }
    return y.length === tokens * this.#rows;
  }
}
