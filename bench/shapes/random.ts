/** Pseudo-random numbers: Marsaglia's xorshift with 32 bits of state. Fast, the same everywhere, for no secrets. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // A multiplication spreads seeds that differ in one bit; the state must not be zero.
    this.#state = Math.imul(seed + 1, 0x9e3779b1) | 1;
    for (let i = 0; i < 8; i++) this.word();
  }

  /** 32 bits, as a signed integer. */
  word(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x;
  }

  /** A number from 0 up to 1, without it. */
  uniform(): number {
    return (this.word() >>> 0) / 2 ** 32;
  }

  integer(below: number): number {
    return Math.floor(this.uniform() * below);
  }

  /** Normally distributed, with mean 0 and deviation 1 (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Fills `out` with entries of `table`, which has 65,536. */
  pick(out: Uint16Array, table: Uint16Array): void;
  pick(out: Uint32Array, table: Uint32Array): void;
  pick(out: Uint16Array | Uint32Array, table: Uint16Array | Uint32Array): void {
    let x = this.#state;
    for (let i = 0; i < out.length; i += 2) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      out[i] = table[x & 0xffff]!;
      out[i + 1] = table[x >>> 16]!;
    }
    this.#state = x;
  }
}
