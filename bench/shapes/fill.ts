import { type FloatEncodingName, toFloat16 } from '../../compiler/import/encodings/index.ts';
import { Random } from './random.ts';

/** Fills `bytes`, whole blocks at an address that is a multiple of four. */
export type Fill = (random: Random, bytes: Uint8Array) => void;

const TABLE = 65536;

/** Deviation of the embeddings: about what trained models have after their scaling, and far from overflow. */
const DEVIATION = 0.16;

/** Deviation of uniform nibbles, of uniform six bits, and of the int8 values that `normalByte` makes. */
const NIBBLE_DEVIATION = 4.6;
const SIX_BIT_DEVIATION = 18.5;
const BYTE_DEVIATION = 32;

/** How to fill tensors of each float encoding: numbers around zero with the deviation of an embedding table. */
export const FILL: Readonly<Record<FloatEncodingName, Fill>> = {
  f32: normals(),
  f16: halves((random) => toFloat16(random.normal() * DEVIATION)),
  bf16: halves((random) => float32Bits(random.normal() * DEVIATION) >>> 16),
  q8_0: blocks(34, pairs(normalByte), (bytes, at) => setHalf(bytes, at, DEVIATION / BYTE_DEVIATION)),
  q4_0: blocks(18, pairs(anyByte), (bytes, at) => setHalf(bytes, at, DEVIATION / NIBBLE_DEVIATION)),
  q6_k: blocks(210, pairs(anyByte), (bytes, at) => {
    for (let i = at + 192; i < at + 208; i++) bytes[i] = 24 + (bytes[i]! & 15);
    setHalf(bytes, at + 208, DEVIATION / (SIX_BIT_DEVIATION * 31.5));
  }),
};

/** Fills with ternary codes 0, 1, 2, each as often as the others. */
export const fillCodes: Fill = pairs((random) => random.integer(3));

function setHalf(bytes: Uint8Array, at: number, value: number): void {
  const half = toFloat16(value);
  bytes[at] = half & 0xff;
  bytes[at + 1] = half >> 8;
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
function blocks(blockBytes: number, fill: Fill, finish: (bytes: Uint8Array, at: number) => void): Fill {
  return (random, bytes) => {
    fill(random, bytes);
    for (let at = 0; at < bytes.length; at += blockBytes) finish(bytes, at);
  };
}
