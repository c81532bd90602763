const MASK = (1n << 64n) - 1n;

const rotateLeft = (value: bigint, bits: bigint): bigint => ((value << bits) | (value >> (64n - bits))) & MASK;

/** xoshiro256++ of Blackman and Vigna, seeded by splitmix64: the numbers that the native engine draws. */
export class Random {
  readonly #state: [bigint, bigint, bigint, bigint];

  constructor(seed: number) {
    let word = BigInt.asUintN(64, BigInt(seed));
    const mixed = () => {
      word = (word + 0x9e3779b97f4a7c15n) & MASK;
      let bits = ((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
      bits = ((bits ^ (bits >> 27n)) * 0x94d049bb133111ebn) & MASK;
      return bits ^ (bits >> 31n);
    };
    this.#state = [mixed(), mixed(), mixed(), mixed()];
  }

  next(): bigint {
    const state = this.#state;
    const result = (rotateLeft((state[0] + state[3]) & MASK, 23n) + state[0]) & MASK;
    const shifted = (state[1] << 17n) & MASK;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotateLeft(state[3], 45n);
    return result;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return Number(this.next() >> 11n) * 2 ** -53;
  }
}
