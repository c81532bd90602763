import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { AbsmeanQuantiser, FLOAT, quantiseTernary } from '../../compiler/import/encodings/index.ts';
import { BitnetError } from '../../errors.ts';

const quantise = suite('quantising masters');

const COUNT = 1 << 18;

function refused(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BitnetError && message.test(error.message);
}

function draw(next: (random: Random) => number, count = COUNT): Float32Array {
  const random = new Random(5);
  return Float32Array.from({ length: count }, () => next(random));
}

function toBf16(values: Float32Array): Float32Array {
  const out = new Float32Array(values.length);
  FLOAT.bf16.decode(FLOAT.bf16.encode(values), out);
  return out;
}

const normal = (random: Random) => random.normal() * 0.03;

/** Masters as training leaves them: like any weights, but that some have drifted to where their code would change. */
function masters(share: number): Float32Array {
  const absmean = 0.03 * Math.sqrt(2 / Math.PI);
  return draw((random) => {
    const weight = normal(random);
    const trapped = Math.abs(Math.abs(weight) - absmean / 2) < 0.1 * absmean && random.uniform() < share;
    return trapped ? Math.sign(weight) * absmean * (0.5 + 0.01 * random.normal()) : weight;
  });
}

quantise('takes exactly three values as they are', () => {
  for (const scale of [0.0123, 1, 2 ** -20]) {
    const values = Float32Array.of(0, scale, -scale, -0, scale);
    const { codes, scale: found } = quantiseTernary(values);
    assert.equal([...codes], [1, 2, 0, 1, 2]);
    assert.is(found, Math.fround(scale));
  }
  assert.equal(quantiseTernary(new Float32Array(4)), { codes: Uint8Array.of(1, 1, 1, 1), scale: 0 });
});

quantise('by absmean: the mean of |w| is the scale, half of it the boundary', () => {
  // Mean 1: 0.5 and -0.5 are ties, which go to the even zero.
  const values = Float32Array.of(0.5, -0.5, 0.50390625, -0.50390625, 3, -3, 0.25, 0.75, 0, 0.9921875);
  const { codes, scale } = quantiseTernary(values, undefined, { force: true });
  assert.is(scale, 1);
  assert.equal([...codes], [1, 1, 2, 0, 2, 0, 1, 2, 1, 2]);
});

quantise('takes weights in three clusters', () => {
  const values = toBf16(draw((random) => 0.02 * (random.integer(3) - 1) + 0.002 * random.normal()));
  const { codes, scale } = quantiseTernary(values);
  assert.ok(Math.abs(scale - (0.02 * 2) / 3) < 0.001);
  // A few zeros lie beyond half the scale, which is less than half the way to the outer clusters.
  const moved = codes.filter((code, i) => code !== 1 + Math.round(values[i]! / 0.02)).length;
  assert.ok(moved < COUNT / 1000, `${moved}`);
});

quantise('takes masters by the weights that training traps at the boundary, in any precision', () => {
  const values = masters(0.3);
  const { codes, scale } = quantiseTernary(values);
  const mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / COUNT;
  assert.ok(Math.abs(scale / mean - 1) < 1e-6);
  assert.ok(codes.every((code, i) => code === 1 + Math.max(-1, Math.min(1, Math.round(values[i]! / scale)))));
  assert.ok(quantiseTernary(toBf16(values)).scale > 0);
  const halves = new Float32Array(COUNT);
  FLOAT.f16.decode(FLOAT.f16.encode(values), halves);
  assert.ok(quantiseTernary(halves).scale > 0);
});

quantise('refuses the weights of other models, with the numbers, unless forced', () => {
  const others: Record<string, Float32Array> = {
    normal: draw(normal),
    'normal, bfloat16': toBf16(draw(normal)),
    even: draw((random) => random.uniform() - 0.5),
    'heavy tails': draw((random) => Math.log(1 - random.uniform()) * (random.integer(2) === 0 ? 1 : -1)),
    'off the centre': draw((random) => 0.01 + 0.03 * random.normal()),
    // A matrix that was once int8: steps so wide that counts beside each other differ by chance.
    'once int8': draw((random) => Math.round(random.normal() * 21) / 700),
    small: draw(normal, 256),
    'trapped elsewhere': draw((random) => {
      const weight = normal(random);
      return Math.abs(Math.abs(weight) - 0.0263) < 0.002 ? Math.sign(weight) * 0.0263 : weight;
    }),
  };
  for (const [name, values] of Object.entries(others)) {
    assert.throws(() => quantiseTernary(values), refused(/not near ternary: three values lose \d+\.\d% of/), name);
    assert.is(quantiseTernary(values, undefined, { force: true }).codes.length, values.length);
  }
});

quantise('refuses ternary weights of several scales, and other weights of few values', () => {
  const rows = Float32Array.from({ length: 4096 }, (_, i) => ((i % 3) - 1) * (i < 2048 ? 0.02 : 0.03));
  assert.throws(() => quantiseTernary(rows), refused(/2 different magnitudes, where ternary weights have one scale/));
  const nibbles = Float32Array.from({ length: 4096 }, (_, i) => (i % 16) - 8);
  assert.throws(() => quantiseTernary(nibbles), refused(/8 different magnitudes/));
  assert.is(quantiseTernary(rows, undefined, { force: true }).codes[0], 0);
});

quantise('refuses what is not finite, forced or not', () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    const values = masters(0.3);
    values[1000] = bad;
    for (const force of [false, true]) {
      assert.throws(() => quantiseTernary(values, undefined, { force }), refused(new RegExp(`value 1000 is ${bad}`)));
    }
  }
});

quantise('gives the same in pieces as at once, and writes into an array of the caller', () => {
  const values = masters(0.3);
  const into = new Uint8Array(COUNT + 3).fill(9);
  const whole = quantiseTernary(values, into);
  assert.is(whole.codes.buffer, into.buffer);
  assert.equal([...into.subarray(COUNT)], [9, 9, 9]);
  const quantiser = new AbsmeanQuantiser();
  const codes = new Uint8Array(COUNT);
  const pieces = [0, 1, 1000, 70_000, COUNT];
  const each = (use: (start: number, end: number) => void) => {
    for (let i = 1; i < pieces.length; i++) use(pieces[i - 1]!, pieces[i]!);
  };
  each((start, end) => quantiser.measure(values.subarray(start, end)));
  each((start, end) => quantiser.quantise(values.subarray(start, end), codes.subarray(start)));
  assert.is(quantiser.finish(false), whole.scale);
  assert.is(Buffer.compare(codes, whole.codes), 0);
});

quantise.run();
