import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  decodeTernary,
  encodedBytes,
  FLOAT,
  FLOAT16,
  type FloatEncodingName,
  isTernary,
  type TernaryEncodingName,
  toFloat16,
} from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';

const encodings = suite('encodings');

/** Deterministic integers from 0 up to `below`. */
function sequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A ternary tensor packed weight by weight, as the formats' descriptions have it. */
const PACK: Record<'i2_s' | 'tq2_0' | 'tq1_0', (codes: number[], half: number) => Uint8Array> = {
  i2_s(codes, half) {
    const bytes = new Uint8Array(codes.length / 4 + 32);
    for (const [i, code] of codes.entries()) {
      const block = Math.floor(i / 128);
      const group = Math.floor((i % 128) / 32);
      bytes[block * 32 + (i % 32)]! |= code << (6 - 2 * group);
    }
    new DataView(bytes.buffer).setFloat32(codes.length / 4, FLOAT16[half]!, true);
    return bytes;
  },
  tq2_0(codes, half) {
    const bytes = new Uint8Array((codes.length / 256) * 66);
    for (const [i, code] of codes.entries()) {
      const n = i % 256;
      bytes[Math.floor(i / 256) * 66 + 32 * Math.floor(n / 128) + (n % 32)]! |=
        code << (2 * Math.floor((n % 128) / 32));
    }
    for (let at = 64; at < bytes.length; at += 66) new DataView(bytes.buffer).setUint16(at, half, true);
    return bytes;
  },
  tq1_0(codes, half) {
    const bytes = new Uint8Array((codes.length / 256) * 54);
    const pack = (at: number, trits: (number | undefined)[]) => {
      let number = 0;
      for (let k = 0; k < 5; k++) number = number * 3 + (trits[k] ?? 0);
      bytes[at] = Math.ceil((number * 256) / 243);
    };
    for (let block = 0; block * 256 < codes.length; block++) {
      const weight = (i: number) => codes[block * 256 + i]!;
      for (let p = 0; p < 32; p++)
        pack(
          block * 54 + p,
          [0, 1, 2, 3, 4].map((k) => weight(32 * k + p)),
        );
      for (let p = 0; p < 16; p++)
        pack(
          block * 54 + 32 + p,
          [0, 1, 2, 3, 4].map((k) => weight(160 + 16 * k + p)),
        );
      for (let p = 0; p < 4; p++)
        pack(
          block * 54 + 48 + p,
          [0, 1, 2, 3].map((k) => weight(240 + 4 * k + p)),
        );
      new DataView(bytes.buffer).setUint16(block * 54 + 52, half, true);
    }
    return bytes;
  },
};
const TERNARY = ['i2_s', 'tq2_0', 'tq1_0'] as const;
const QUARTER = 0x3400;
const SHAPE = [3, 256];
const LITTLE = { byteOrder: 'little' } as const;

for (const encoding of TERNARY) {
  const random = sequence(7);
  const codes = Array.from({ length: 768 }, () => random(3));
  const packed = PACK[encoding](codes, QUARTER);

  encodings(`${encoding}: decodes what was packed`, () => {
    assert.is(encodedBytes(encoding, SHAPE), packed.length);
    const result = decodeTernary(encoding, packed, SHAPE, LITTLE);
    assert.equal([...result.codes], codes);
    assert.is(result.scale, 0.25);
  });

  encodings(`${encoding}: decodes at any address, and into an array of the caller's`, () => {
    const into = new Uint8Array(1000).fill(9);
    for (const shift of [1, 2, 3]) {
      const moved = new Uint8Array(packed.length + shift + 5);
      moved.set(packed, shift);
      const result = decodeTernary(encoding, moved.subarray(shift), SHAPE, LITTLE, into);
      assert.equal([...result.codes], codes);
      assert.is(result.codes.buffer, into.buffer);
      assert.ok(into.subarray(768).every((byte) => byte === 9));
    }
  });

  encodings(`${encoding}: only the scales have a byte order`, () => {
    const big = Uint8Array.from(packed);
    if (encoding === 'i2_s') big.subarray(192, 196).reverse();
    const block = encoding === 'tq1_0' ? 54 : 66;
    if (encoding !== 'i2_s')
      for (let end = block; end <= big.length; end += block) big.subarray(end - 2, end).reverse();
    const result = decodeTernary(encoding, big, SHAPE, { byteOrder: 'big' });
    assert.equal([...result.codes], codes);
    assert.is(result.scale, 0.25);
  });

  encodings(`${encoding}: refuses scales that cannot be`, () => {
    for (const half of [0xb400, 0x7c00, 0x7e00]) {
      const bytes = PACK[encoding](codes, half);
      assert.throws(() => decodeTernary(encoding, bytes, SHAPE, LITTLE), refused(/weight scale at byte/));
    }
  });

  encodings(`${encoding}: refuses sizes that do not fit`, () => {
    assert.throws(() => decodeTernary(encoding, packed, [1, 800], LITTLE), refused(/do not fill whole/));
    assert.throws(() => decodeTernary(encoding, packed.subarray(1), SHAPE, LITTLE), refused(/but there are/));
  });
}

for (const encoding of ['i2_s', 'tq2_0'] as const) {
  encodings(`${encoding}: refuses the code 3, and says where`, () => {
    for (const position of [0, 129, 767]) {
      const codes = new Array(768).fill(1);
      codes[position] = 3;
      const bytes = PACK[encoding](codes, QUARTER);
      assert.throws(() => decodeTernary(encoding, bytes, SHAPE, LITTLE), refused(new RegExp(`weight ${position} `)));
    }
  });
}

for (const encoding of ['tq1_0', 'tq2_0'] as const) {
  const blockBytes = encoding === 'tq1_0' ? 54 : 66;
  encodings(`${encoding}: a block of scale zero is all zeros`, () => {
    const bytes = PACK[encoding](new Array(768).fill(2), QUARTER);
    new DataView(bytes.buffer).setUint16(blockBytes - 2, 0, true);
    const { codes, scale } = decodeTernary(encoding, bytes, SHAPE, LITTLE);
    assert.is(scale, 0.25);
    assert.ok(codes.every((code, i) => code === (i < 256 ? 1 : 2)));
  });

  encodings(`${encoding}: refuses blocks of different scales`, () => {
    const bytes = PACK[encoding](new Array(768).fill(2), QUARTER);
    new DataView(bytes.buffer).setUint16(3 * blockBytes - 2, QUARTER + 1, true);
    assert.throws(() => decodeTernary(encoding, bytes, SHAPE, LITTLE), refused(/block 2 of the tensor has the scale/));
  });
}

encodings('float16: every value there and back', () => {
  for (let half = 0; half < 65536; half++) {
    const value = FLOAT16[half]!;
    if (Number.isNaN(value)) assert.is(toFloat16(value) & 0x7e00, 0x7e00);
    else assert.is(toFloat16(value), half);
  }
  assert.equal([FLOAT16[0x3c00], FLOAT16[0xc000], FLOAT16[0x0001], FLOAT16[0x7bff]], [1, -2, 2 ** -24, 65504]);
  assert.equal([FLOAT16[0x7c00], FLOAT16[0x3555]], [Number.POSITIVE_INFINITY, 0.333251953125]);
});

encodings('float16: rounds to nearest, ties to even', () => {
  const step = 2 ** -10;
  const cases: [number, number][] = [
    [1 + step / 2, 0x3c00],
    [1 + step * 1.5, 0x3c02],
    [1 + step * 0.75, 0x3c01],
    [2 - step / 2, 0x4000],
    [65519, 0x7bff],
    [65520, 0x7c00],
    [2 ** -25, 0],
    [2 ** -24 * 1.5, 2],
    [2 ** -14 - 2 ** -26, 0x0400],
    [-0, 0x8000],
  ];
  for (const [value, half] of cases) assert.is(toFloat16(value), half, String(value));
});

/** One value at a time, straight from the formats' descriptions. */
const VALUE: Record<FloatEncodingName, (view: DataView, index: number) => number> = {
  f32: (view, i) => view.getFloat32(i * 4, true),
  f16: (view, i) => FLOAT16[view.getUint16(i * 2, true)]!,
  bf16(view, i) {
    const wide = new DataView(new ArrayBuffer(4));
    wide.setUint16(2, view.getUint16(i * 2, true), true);
    return wide.getFloat32(0, true);
  },
  q8_0(view, i) {
    const block = Math.floor(i / 32) * 34;
    return FLOAT16[view.getUint16(block, true)]! * view.getInt8(block + 2 + (i % 32));
  },
  q4_0(view, i) {
    const block = Math.floor(i / 32) * 18;
    const pair = view.getUint8(block + 2 + (i % 16));
    return FLOAT16[view.getUint16(block, true)]! * ((i % 32 < 16 ? pair % 16 : Math.floor(pair / 16)) - 8);
  },
  q6_k(view, i) {
    const block = Math.floor(i / 256) * 210;
    const n = i % 256;
    const [half, r] = [Math.floor(n / 128), n % 128];
    const low = view.getUint8(block + half * 64 + (r % 64));
    const high = view.getUint8(block + 128 + half * 32 + (r % 32));
    const quant = (r < 64 ? low % 16 : Math.floor(low / 16)) + 16 * (Math.floor(high / 4 ** Math.floor(r / 32)) % 4);
    return FLOAT16[view.getUint16(block + 208, true)]! * view.getInt8(block + 192 + Math.floor(n / 16)) * (quant - 32);
  },
};

for (const name of Object.keys(FLOAT) as FloatEncodingName[]) {
  const { blockValues, blockBytes, decode, swapBytes } = FLOAT[name];
  const random = sequence(3);
  const bytes = Uint8Array.from({ length: blockBytes * 5 }, () => random(256));
  // Bytes that are a scale or a float's exponent must not make infinities.
  const tops = { f32: [3], f16: [1], bf16: [1], q8_0: [1], q4_0: [1], q6_k: [209] }[name];
  for (let block = 0; block < bytes.length; block += blockBytes) for (const top of tops) bytes[block + top]! &= 0xbf;
  const expected = Float32Array.from({ length: blockValues * 5 }, (_, i) => VALUE[name](new DataView(bytes.buffer), i));

  encodings(`${name}: decodes, at any address`, () => {
    assert.is(encodedBytes(name, [5, blockValues]), bytes.length);
    for (const shift of [0, 1, 2]) {
      const moved = new Uint8Array(bytes.length + shift);
      moved.set(bytes, shift);
      const out = new Float32Array(expected.length);
      decode(moved.subarray(shift), out);
      assert.equal([...out], [...expected]);
    }
  });

  encodings(`${name}: swaps bytes of numbers wider than one`, () => {
    const swapped = Uint8Array.from(bytes);
    swapBytes(swapped);
    const size = name === 'f32' ? 4 : 2;
    const at = name === 'q6_k' ? 208 : 0;
    for (let block = 0; block < bytes.length; block += blockBytes) {
      const number = block + at;
      assert.equal([...swapped.subarray(number, number + size)], [...bytes.subarray(number, number + size)].reverse());
    }
    swapBytes(swapped);
    assert.equal(swapped, bytes);
  });
}

/** Weighted sums over two tensors of the golden models, computed with numpy from the formats' descriptions. */
const GOLDEN = {
  'b158-i2s': { codes: 66124724, scale: 0.05224609375, embedding: -26547.138174533844 },
  'b158-ragged-i2s': { codes: 222975038, scale: 0.035736083984375, embedding: 33846.4811964035 },
  'bitnet-silu-tq1': { codes: 65937361, scale: 0.0576171875, embedding: -39805.002683373306 },
  'llama-tq2': { codes: 66114814, scale: 0.056793212890625, embedding: 10549.789014816284 },
};

function weightedSum(values: Uint8Array | Float32Array): number {
  let sum = 0;
  for (const [i, value] of values.entries()) sum += value * ((i * 31 + 7) % 1009);
  return sum;
}

for (const [name, golden] of Object.entries(GOLDEN)) {
  encodings(`decodes the golden model ${name}`, async () => {
    const model = await importModel(join(packageRoot(), 'test/fixtures', `${name}.gguf`));
    const file = readFileSync(model.source.path);
    const load = (tensorName: string) => {
      const tensor = model.tensors.find((candidate) => candidate.name === tensorName)!;
      const count = tensor.shape.reduce((product, size) => product * size, 1);
      return { ...tensor, count, data: file.subarray(tensor.offset, tensor.offset + tensor.bytes) };
    };
    const down = load('blk.1.ffn_down.weight');
    assert.ok(isTernary(down.encoding));
    const { codes, scale } = decodeTernary(down.encoding as TernaryEncodingName, down.data, down.shape, LITTLE);
    assert.equal([weightedSum(codes), scale], [golden.codes, golden.scale]);

    const embedding = load('token_embd.weight');
    const out = new Float32Array(embedding.count);
    FLOAT[embedding.encoding as FloatEncodingName].decode(embedding.data, out);
    assert.ok(Math.abs(weightedSum(out) - golden.embedding) < 0.01);
  });
}

function refused(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BitnetError && message.test(error.message);
}

encodings.run();
