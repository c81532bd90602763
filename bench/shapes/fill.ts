import { toFloat16 } from '../../compiler/import/encodings/index.ts';
import type { Encoding } from '../../compiler/ir/model.ts';
import { Random } from './random.ts';

/** Fills `bytes`, whole blocks at an address that is a multiple of four. Only ternary encodings heed the scale. */
export type Fill = (random: Random, bytes: Uint8Array, scale: number) => void;

const TABLE = 65536;

/** Deviation of the embeddings: about what trained models have after their scaling, and far from overflow. */
const DEVIATION = 0.16;

/** Deviation of uniform nibbles, of uniform six bits, and of the int8 values that `normalByte` makes. */
const NIBBLE_DEVIATION = 4.6;
const SIX_BIT_DEVIATION = 18.5;
const BYTE_DEVIATION = 32;

/**
 * How to fill tensors of each encoding. Ternary tensors get the same scale in every block (I2_S has its own in the
 * tensor's tail: see `i2sTail`); all others get numbers around zero with the deviation of an embedding table.
 */
export const FILL: Readonly<Record<Encoding, Fill>> = {
  f32: normals(),
  f16: halves((random) => toFloat16(random.normal() * DEVIATION)),
  bf16: halves((random) => float32Bits(random.normal() * DEVIATION) >>> 16),
  q8_0: blocks(34, pairs(normalByte), (bytes, at) => setHalf(bytes, at, DEVIATION / BYTE_DEVIATION)),
  q4_0: blocks(18, pairs(anyByte), (bytes, at) => setHalf(bytes, at, DEVIATION / NIBBLE_DEVIATION)),
  q6_k: blocks(210, pairs(anyByte), (bytes, at) => {
    for (let i = at + 192; i < at + 208; i++) bytes[i] = 24 + (bytes[i]! & 15);
    setHalf(bytes, at + 208, DEVIATION / (SIX_BIT_DEVIATION * 31.5));
  }),
  i2_s: pairs(twoBitCodes),
  tq2_0: blocks(66, pairs(twoBitCodes), (bytes, at, _, scale) => setHalf(bytes, at + 64, scale)),
  tq1_0: blocks(54, pairs(fiveTrits), (bytes, at, random, scale) => {
    for (let i = at + 48; i < at + 52; i++) bytes[i] = fixedPoint(random.integer(81) * 3);
    setHalf(bytes, at + 52, scale);
  }),
};

/** What follows the blocks of an I2_S tensor: its scale, padded. */
export function i2sTail(scale: number): Uint8Array {
  const tail = new Uint8Array(32);
  new DataView(tail.buffer).setFloat32(0, scale, true);
  return tail;
}

function setHalf(bytes: Uint8Array, at: number, value: number): void {
  const half = toFloat16(value);
  bytes[at] = half & 0xff;
  bytes[at + 1] = half >> 8;
}

/** One of the 81 bytes of four two-bit codes below 3. */
function twoBitCodes(random: Random): number {
  return random.integer(3) | (random.integer(3) << 2) | (random.integer(3) << 4) | (random.integer(3) << 6);
}

/** One of the 243 bytes of five trits, as a fixed-point fraction of 256. */
function fiveTrits(random: Random): number {
  return fixedPoint(random.integer(243));
}

function fixedPoint(trits: number): number {
  return Math.ceil((trits * 256) / 243);
}

function normalByte(random: Random): number {
  return Math.max(-127, Math.min(127, Math.round(random.normal() * BYTE_DEVIATION))) & 0xff;
}

function anyByte(random: Random): number {
  return random.integer(256);
}

function float32Bits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

/** Fills with pairs of such bytes. */
function pairs(byte: (random: Random) => number): Fill {
  return halves((random) => byte(random) | (byte(random) << 8));
}

/** Fills with 16-bit words out of a table of such entries, which is made when it is first needed. */
function halves(entry: (random: Random) => number): Fill {
  let table: Uint16Array | undefined;
  return (random, bytes) => {
    table ??= makeTable(entry, Uint16Array);
    random.pick(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2), table);
  };
}

function normals(): Fill {
  let table: Uint32Array | undefined;
  return (random, bytes) => {
    table ??= makeTable((source) => float32Bits(source.normal() * DEVIATION), Uint32Array);
    random.pick(new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4), table);
  };
}

function makeTable<T>(entry: (random: Random) => number, array: { from(source: Iterable<number>): T }): T {
  const random = new Random(0);
  return array.from(Array.from({ length: TABLE }, () => entry(random)));
}

/** Fills all, and then finishes each block. */
function blocks(
  blockBytes: number,
  fill: Fill,
  finish: (bytes: Uint8Array, at: number, random: Random, scale: number) => void,
): Fill {
  return (random, bytes, scale) => {
    fill(random, bytes, scale);
    for (let at = 0; at < bytes.length; at += blockBytes) finish(bytes, at, random, scale);
  };
}
