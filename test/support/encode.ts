import type { Random } from '../../bench/shapes/random.ts';

/** Values in an encoding of GGUF: the bytes and, exactly, what they stand for. Written from the formats' descriptions. */
export interface Encoded {
  /** Number of the type in a GGUF file. */
  readonly type: number;
  readonly bytes: Buffer;
  readonly values: Float64Array;
}

/** Bytes of a number in the file's byte order. */
export interface Order {
  f32(value: number): Buffer;
  u16(bits: number): Buffer;
}

export const order = (byteOrder: 'little' | 'big'): Order => ({
  f32(value) {
    const bytes = Buffer.alloc(4);
    if (byteOrder === 'little') bytes.writeFloatLE(value);
    else bytes.writeFloatBE(value);
    return bytes;
  },
  u16(bits) {
    const bytes = Buffer.alloc(2);
    if (byteOrder === 'little') bytes.writeUInt16LE(bits);
    else bytes.writeUInt16BE(bits);
    return bytes;
  },
});

/** A float16 with that fraction (0 to 1023) and exponent: its bits and value. */
const half = (fraction: number, exponent: number, negative = false) => ({
  bits: ((negative ? 1 : 0) << 15) | ((exponent + 15) << 10) | fraction,
  value: (negative ? -1 : 1) * (1 + fraction / 1024) * 2 ** exponent,
});

type Encoder = (count: number, order: Order, random: Random) => Encoded;

/** `blocks` calls of `block`, which gives one block's bytes and values. */
function inBlocks(
  type: number,
  count: number,
  size: number,
  block: () => { bytes: Buffer; values: number[] },
): Encoded {
  const blocks = Array.from({ length: count / size }, block);
  return {
    type,
    bytes: Buffer.concat(blocks.map(({ bytes }) => bytes)),
    values: Float64Array.from(blocks.flatMap(({ values }) => values)),
  };
}

const f32: Encoder = (count, { f32 }, random) =>
  inBlocks(0, count, 1, () => {
    const value = Math.fround(random.normal());
    return { bytes: f32(value), values: [value] };
  });

const f16: Encoder = (count, { u16 }, random) =>
  inBlocks(1, count, 1, () => {
    const { bits, value } = half(random.integer(1024), random.integer(4) - 3, random.integer(2) === 1);
    return { bytes: u16(bits), values: [value] };
  });

const bf16: Encoder = (count, { u16 }, random) =>
  inBlocks(30, count, 1, () => {
    const [fraction, exponent, negative] = [random.integer(128), random.integer(4) - 3, random.integer(2)];
    const value = (negative ? -1 : 1) * (1 + fraction / 128) * 2 ** exponent;
    return { bytes: u16((negative << 15) | ((exponent + 127) << 7) | fraction), values: [value] };
  });

const q8_0: Encoder = (count, { u16 }, random) =>
  inBlocks(8, count, 32, () => {
    const scale = half(random.integer(1024), -7);
    const q = Array.from({ length: 32 }, () => random.integer(256) - 128);
    return { bytes: Buffer.concat([u16(scale.bits), Buffer.from(q)]), values: q.map((v) => v * scale.value) };
  });

const q4_0: Encoder = (count, { u16 }, random) =>
  inBlocks(2, count, 32, () => {
    const scale = half(random.integer(1024), -3);
    const q = Array.from({ length: 32 }, () => random.integer(16));
    const nibbles = Array.from({ length: 16 }, (_, i) => q[i] | (q[16 + i] << 4));
    return {
      bytes: Buffer.concat([u16(scale.bits), Buffer.from(nibbles)]),
      values: q.map((v) => (v - 8) * scale.value),
    };
  });

const q6_k: Encoder = (count, { u16 }, random) =>
  inBlocks(14, count, 256, () => {
    const scale = half(random.integer(1024), -9);
    const scales = Array.from({ length: 16 }, () => random.integer(64) - 32);
    const q = Array.from({ length: 256 }, () => random.integer(64));
    const low = Buffer.alloc(128);
    const high = Buffer.alloc(64);
    q.forEach((v, i) => {
      const [side, quarter, at] = [i >> 7, (i >> 5) & 3, i & 31];
      low[side * 64 + (quarter & 1) * 32 + at] |= (v & 15) << (4 * (quarter >> 1));
      high[side * 32 + at] |= (v >> 4) << (2 * quarter);
    });
    return {
      bytes: Buffer.concat([low, high, Buffer.from(scales), u16(scale.bits)]),
      values: q.map((v, i) => (v - 32) * scales[i >> 4] * scale.value),
    };
  });

/** One encoder of random values for each encoding of real numbers. */
export const ENCODE = { f32, f16, bf16, q8_0, q4_0, q6_k };

/** Random ternary weights as bitnet.cpp's I2_S, with their scale. */
export function encodeI2S(count: number, scale: number, { f32 }: Order, random: Random) {
  const codes = Uint8Array.from({ length: count }, () => random.integer(3));
  const bytes = Buffer.alloc(count / 4);
  codes.forEach((code, i) => {
    bytes[32 * (i >> 7) + (i & 31)] |= code << (6 - 2 * ((i >> 5) & 3));
  });
  return { type: 36, bytes: Buffer.concat([bytes, f32(scale), Buffer.alloc(28)]), codes };
}
