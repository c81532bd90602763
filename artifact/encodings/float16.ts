const bits32 = new Uint32Array(1);
const value32 = new Float32Array(bits32.buffer);

/** The value of one IEEE 754 binary16 number. */
function widen(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** All 65,536 float16 values by their bits: a look-up is many times faster than unpacking. */
export const FLOAT16: Float32Array = Float32Array.from({ length: 65536 }, (_, half) => widen(half));

/** The bits of the float16 nearest to `value`, ties to even; beyond 65,504 it is an infinity. */
export function toFloat16(value: number): number {
  value32[0] = value;
  return narrow(bits32[0]!);
}

/** The same for the bits of a float32. */
export function narrow(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude < 0x38800000) {
    bits32[0] = magnitude;
    return sign | roundHalfEven(value32[0]! * 2 ** 24);
  }
  // Rebias the exponent from 127 to 15 and drop 13 bits of fraction; a carry out of the fraction is the next exponent.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
