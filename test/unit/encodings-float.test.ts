import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { FLOAT, FLOAT16, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { BitnetError } from '../../errors.ts';

const floats = suite('encodings, floats');

const words = (bytes: Uint8Array) => [...new Uint16Array(bytes.buffer)];
const bits = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer);

function refused(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BitnetError && message.test(error.message);
}

floats('f32: the bytes of the values, apart from them', () => {
  const values = Float32Array.of(1, -2.5, Number.NaN, Number.POSITIVE_INFINITY, -0);
  const bytes = FLOAT.f32.encode(values);
  assert.equal(Buffer.from(bytes), Buffer.from(values.buffer));
  values.fill(0);
  assert.is(new Float32Array(bytes.buffer)[0], 1);
});

floats('f16: every value there and back, what lies between to the nearest, ties to even', () => {
  const finite = Array.from({ length: 65536 }, (_, half) => half).filter((half) => (half & 0x7c00) !== 0x7c00);
  assert.equal(words(FLOAT.f16.encode(Float32Array.from(finite, (half) => FLOAT16[half]!))), finite);
  const step = 2 ** -10;
  const values = Float32Array.of(1 + step / 2, 1 + 1.5 * step, 1 + 0.75 * step, 65519, 2 ** -25, 2 ** -24 * 1.5, -0);
  assert.equal(words(FLOAT.f16.encode(values)), [0x3c00, 0x3c02, 0x3c01, 0x7bff, 0, 2, 0x8000]);
});

floats('bf16: every value there and back, what lies between to the nearest, ties to even', () => {
  const finite = Array.from({ length: 65536 }, (_, half) => half).filter((half) => (half & 0x7f80) !== 0x7f80);
  assert.equal(words(FLOAT.bf16.encode(bits(...finite.map((half) => half * 65536)))), finite);
  const values = bits(0x3f808000, 0x3f818000, 0x3f807fff, 0x3f808001, 0x00008000, 0x00018000, 0xbf7fffff);
  assert.equal(words(FLOAT.bf16.encode(values)), [0x3f80, 0x3f82, 0x3f80, 0x3f81, 0, 2, 0xbf80]);
});

floats('f16 and bf16: infinities and NaN stay, what is beyond the range is refused', () => {
  const infinite = bits(0x7f800000, 0xff800000);
  assert.equal(words(FLOAT.f16.encode(infinite)), [0x7c00, 0xfc00]);
  assert.equal(words(FLOAT.bf16.encode(infinite)), [0x7f80, 0xff80]);
  // NaNs that would become infinities if the lower half of their fraction were just dropped.
  for (const name of ['f16', 'bf16'] as const) {
    const bytes = FLOAT[name].encode(bits(0x7f800001, 0x7fc00000, 0xff80ffff));
    const out = new Float32Array(3);
    FLOAT[name].decode(bytes, out);
    assert.ok(out.every(Number.isNaN), name);
  }
  assert.throws(
    () => FLOAT.f16.encode(Float32Array.of(1, -65520)),
    refused(/value 1 is -65520, which f16 cannot hold/),
  );
  assert.throws(() => FLOAT.bf16.encode(bits(0x7f7fffff)), refused(/value 0 is 3\.4.*e\+38, which bf16 cannot hold/));
});

floats('q8_0: steps of a 127th of the largest value', () => {
  const values = new Float32Array(32);
  values.set([12.7, -12.7, 1, -1, 0.04, 6.33]);
  const bytes = FLOAT.q8_0.encode(values);
  assert.is(bytes[0]! | (bytes[1]! << 8), 0x2e66);
  assert.equal([...new Int8Array(bytes.buffer, 2, 6)], [127, -127, 10, -10, 0, 63]);
});

floats('q4_0: the value farthest from zero is the lowest step', () => {
  const values = new Float32Array(32);
  values.set([4, -3.5, 0.5, 0.2]);
  values[16] = -1;
  const bytes = FLOAT.q4_0.encode(values);
  assert.is(bytes[0]! | (bytes[1]! << 8), 0xb800);
  const nibbles = [...bytes.subarray(2)];
  assert.equal(nibbles.slice(0, 4), [0 | (10 << 4), 15 | (8 << 4), 7 | (8 << 4), 8 | (8 << 4)]);
  const out = new Float32Array(32);
  FLOAT.q4_0.decode(bytes, out);
  assert.equal([...out.subarray(0, 3), out[16]], [4, -3.5, 0.5, -1]);
});

floats('blocks of zeros are zeros', () => {
  for (const name of ['q8_0', 'q4_0', 'q6_k'] as const) {
    const out = new Float32Array(256).fill(1);
    FLOAT[name].decode(FLOAT[name].encode(new Float32Array(256)), out);
    assert.ok(
      out.every((value) => value === 0),
      name,
    );
  }
});

floats('blocks refuse infinities, NaN, and scales beyond float16', () => {
  for (const name of ['q8_0', 'q4_0', 'q6_k'] as const) {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const values = new Float32Array(256).fill(1);
      values[77] = bad;
      assert.throws(() => FLOAT[name].encode(values), refused(new RegExp(`value 77 is ${bad}, which ${name}`)));
    }
    assert.throws(() => FLOAT[name].encode(new Float32Array(256).fill(3e38)), refused(/which q\d_\w cannot hold/));
  }
});

/** What ggml's own quantisers lose of values like those of an embedding table, as a fraction; these may lose no more. */
const GGML: Partial<Record<FloatEncodingName, number>> = { q8_0: 0.00545, q6_k: 0.0179, q4_0: 0.0865 };

for (const [name, most] of Object.entries(GGML) as [FloatEncodingName, number][]) {
  floats(`${name}: loses as little as ggml`, () => {
    const random = new Random(17);
    const values = Float32Array.from({ length: 256 * 400 }, () => random.normal() * 0.16);
    const out = new Float32Array(values.length);
    FLOAT[name].decode(FLOAT[name].encode(values), out);
    let [error, energy] = [0, 0];
    for (const [i, value] of values.entries()) {
      error += (out[i]! - value) ** 2;
      energy += value ** 2;
    }
    const lost = Math.sqrt(error / energy);
    assert.ok(lost < most, `${lost}`);
  });
}

floats('q6_k: groups of very different size each have their own steps', () => {
  const random = new Random(2);
  const values = Float32Array.from({ length: 256 }, (_, i) => random.normal() * (1 + (i >> 4)));
  const out = new Float32Array(256);
  FLOAT.q6_k.decode(FLOAT.q6_k.encode(values), out);
  for (let group = 0; group < 256; group += 16) {
    const part = [...values.subarray(group, group + 16)];
    const error = Math.hypot(...part.map((value, i) => value - out[group + i]!));
    assert.ok(error < 0.06 * Math.hypot(...part), `group ${group}: ${error}`);
  }
});

floats.run();
