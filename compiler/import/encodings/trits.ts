/** The byte for a number of five trits: its fraction of 243, as a fixed-point number of 256 rounded up. */
export const TRIT_BYTE: Uint8Array = Uint8Array.from({ length: 243 }, (_, trits) => Math.ceil((trits * 256) / 243));
