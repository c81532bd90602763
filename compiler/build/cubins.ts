/** Machine code for one GPU architecture. */
export interface Cubin {
  /** Compute capability times ten: 90 of sm_90. */
  readonly capability: number;
  readonly bytes: Uint8Array;
}

const MAGIC = 'bncubins';
const ENTRY = 24;

/** Puts cubins into one file, as `bn_cubins` of artifact/cuda.h has them. */
export function packCubins(cubins: readonly Cubin[]): Uint8Array {
  const pad = (n: number) => Math.ceil(n / 64) * 64;
  const start = pad(16 + ENTRY * cubins.length);
  const file = Buffer.alloc(cubins.reduce((end, { bytes }) => end + pad(bytes.length), start));
  file.write(MAGIC, 'latin1');
  file.writeInt32LE(cubins.length, 8);
  let at = start;
  for (const [index, { capability, bytes }] of cubins.entries()) {
    const entry = 16 + ENTRY * index;
    file.writeInt32LE(capability, entry);
    file.writeBigInt64LE(BigInt(at), entry + 8);
    file.writeBigInt64LE(BigInt(bytes.length), entry + 16);
    file.set(bytes, at);
    at += pad(bytes.length);
  }
  return file;
}
