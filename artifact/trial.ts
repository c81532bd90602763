/** Tokens that a GEMM is tried on: one whole tile or more on every target, and a part of one. */
export const TRIAL_TOKENS = 13;
/** Of one that takes a few: four, two and one are multiplied at once. */
export const FEW_TRIAL_TOKENS = 7;

const FNV_OFFSET = 0xcbf29ce484222325n;
const FNV_PRIME = 0x100000001b3n;
const MASK = 0xffffffffffffffffn;

/** The activations of a trial: what self_test in the generated model.cpp computes too. */
export function trialActivations(columns: number, token: number): Int8Array {
  return Int8Array.from({ length: columns }, (_, k) => ((k * 37 + token * 101 + 11) % 255) - 127);
}

/** FNV-1a over int32 values, one at a time. */
export class Checksum {
  private hash = FNV_OFFSET;

  add(values: Int32Array): void {
    for (const value of values) this.hash = ((this.hash ^ BigInt(value >>> 0)) * FNV_PRIME) & MASK;
  }

  /** 16 hexadecimal digits. */
  hex(): string {
    return this.hash.toString(16).padStart(16, '0');
  }
}
