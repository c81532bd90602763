/** How a table's keys are spread over its slots: two odd numbers of 32 bits. */
export interface Factors {
  readonly first: number;
  readonly second: number;
}

/** Empty slots for so many keys: a power of two of them, so many that between a third and two thirds stay free. */
export function emptySlots(keys: number): Int32Array {
  return new Int32Array(2 ** Math.max(1, Math.ceil(Math.log2(keys * 1.5))));
}

/** How far to shift a hash of 32 bits for the number of a slot. */
export function shiftOf(slots: Int32Array): number {
  return Math.clz32(slots.length) + 1;
}
