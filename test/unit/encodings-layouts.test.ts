import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import {
  decodeTernary,
  encodedBytes,
  encodeTernary,
  FLOAT16,
  type TernaryEncodingName,
} from '../../compiler/import/encodings/index.ts';
import type { TableTile } from '../../compiler/ir/model.ts';
import { BitnetError } from '../../errors.ts';

const layouts = suite('encodings, layouts');

const SCALE = 0.25;
const SCALE16 = 0x3400;

/** Puts one weight after the other where its format says it belongs; `code` is weight + 1. */
type Write = (shape: [number, number], code: (row: number, col: number) => number, tile?: TableTile) => Uint8Array;

function eachWeight([rows, cols]: [number, number], use: (row: number, col: number) => void): void {
  for (let row = 0; row < rows; row++) for (let col = 0; col < cols; col++) use(row, col);
}

function withScale32(bytes: Uint8Array, ...places: number[]): Uint8Array {
  for (const place of places) new DataView(bytes.buffer).setFloat32(place, SCALE, true);
  return bytes;
}

const up32 = (bytes: number) => (bytes % 32 === 0 ? bytes : bytes - (bytes % 32) + 32);

/** The smallest byte whose five digits in base 3, as a fraction of 256, are those of the number. */
const fraction = (number: number) => Math.floor((number * 256 + 242) / 243);

const WRITE: Partial<Record<TernaryEncodingName, Write>> = {
  i2_s64(shape, code) {
    const bytes = new Uint8Array((shape[0] * shape[1]) / 4 + 32);
    eachWeight(shape, (row, col) => {
      const i = row * shape[1] + col;
      bytes[16 * Math.floor(i / 64) + (i % 16)]! += code(row, col) * 4 ** (3 - (Math.floor(i / 16) % 4));
    });
    return withScale32(bytes, bytes.length - 32);
  },
  i2_s_r4(shape, code) {
    const bytes = new Uint8Array((shape[0] * shape[1]) / 4 + 32);
    eachWeight(shape, (row, col) => {
      bytes[Math.floor(row / 4) * shape[1] + col]! += code(row, col) * 4 ** (3 - (row % 4));
    });
    return withScale32(bytes, bytes.length - 32);
  },
  tl1([rows, cols], code, tile) {
    const { BM, BK, bm } = tile!;
    const by = 256 / bm;
    const bytes = new Uint8Array(up32((rows * cols) / 4) + 32);
    eachWeight([rows, cols / 2], (row, pair) => {
      const [r, c] = [row % BM, (2 * pair) % BK];
      let at = Math.floor(row / BM) * (cols / BK) + Math.floor((2 * pair) / BK);
      at = at * (BM / bm) + Math.floor(r / bm);
      at = at * (BK / by) + Math.floor(c / by);
      at = at * (bm / 16) + Math.floor((r % bm) / 16);
      at = at * (by / 4) + Math.floor((c % by) / 4);
      const index = 3 * (code(row, 2 * pair) - 1) + (code(row, 2 * pair + 1) - 1) + 4;
      bytes[at * 16 + (row % 16)]! += pair % 2 === 0 ? 16 * index : index;
    });
    return withScale32(bytes, bytes.length - 32);
  },
  tl2([rows, cols], code, tile) {
    const { BM, BK } = tile!;
    const threes = Math.floor(cols / BK) * BK;
    const spare = Math.floor((Math.floor(((cols - 256) * rows) / 3) * 5) / 8) + 64 * rows;
    const bytes = new Uint8Array(up32(spare) + 32);
    const place = (row: number) => {
      const eighth = Math.floor((row % 32) / 8);
      return 8 * (eighth === 1 ? 2 : eighth === 2 ? 1 : eighth) + (row % 8);
    };
    const group = (row: number, col: number, width: number, step: number, count: number) =>
      ((Math.floor(row / BM) * (width / step) + Math.floor(col / step)) * (BM / 32) + Math.floor((row % BM) / 32)) *
      count;
    eachWeight([rows, threes / 3], (row, three) => {
      const col = 3 * three;
      const [a, b, c] = [0, 1, 2].map((i) => code(row, col + i) - 1) as [number, number, number];
      const number = 9 * a + 3 * b + c;
      const six = group(row, col, threes, BK, BK / 6) + Math.floor((col % BK) / 6);
      bytes[six * 32 + place(row)]! += Math.abs(number) * (three % 2 === 0 ? 16 : 1);
      if (number >= 0) return;
      const day = group(row, col, threes, BK, BK / 24) + Math.floor((col % BK) / 24);
      const bit = 15 - 2 * (three % 8) - (row % 32 < 16 ? 0 : 1);
      const word = (rows * threes) / 6 + day * 32 + 2 * (row % 16);
      bytes[bit < 8 ? word : word + 1]! += 2 ** (bit % 8);
    });
    eachWeight([rows, (cols - threes) / 2], (row, pair) => {
      const col = 2 * pair;
      const four = group(row, col, cols - threes, 32, 8) + Math.floor((col % 32) / 4);
      const index = 3 * (code(row, threes + col) - 1) + (code(row, threes + col + 1) - 1) + 4;
      bytes[(rows * threes * 5) / 24 + four * 32 + place(row)]! += pair % 2 === 0 ? 16 * index : index;
    });
    return withScale32(bytes, bytes.length - 32);
  },
  iq1_bn([rows, cols], code) {
    const rowBytes = 2 + (cols / 64) * 13;
    const bytes = new Uint8Array(rows * rowBytes);
    for (let row = 0; row < rows; row++) {
      new DataView(bytes.buffer).setUint16(row * rowBytes, SCALE16, true);
      const number = (cols: number[]) => fraction(cols.reduce((sum, col, i) => sum + 3 ** i * code(row, col), 0));
      for (let block = 0; block * 64 < cols; block++) {
        const at = row * rowBytes + 2 + block * 13;
        for (let i = 0; i < 12; i++) {
          const start = block * 64 + 16 * Math.floor(i / 3) + 5 * (i % 3);
          bytes[at + i] = number([0, 1, 2, 3, 4].map((k) => start + k));
        }
        bytes[at + 12] = number([15, 31, 47, 63].map((k) => block * 64 + k));
      }
    }
    return bytes;
  },
  iq2_bn([rows, cols], code) {
    const rowBytes = 4 + cols / 4;
    const bytes = new Uint8Array(rows * rowBytes);
    eachWeight([rows, cols], (row, col) => {
      bytes[row * rowBytes + 4 + 16 * Math.floor(col / 64) + (col % 16)]! +=
        code(row, col) * 4 ** Math.floor((col % 64) / 16);
    });
    return withScale32(bytes, ...Array.from({ length: rows }, (_, row) => row * rowBytes));
  },
  iq2_bn_r4([rows, cols], code) {
    const fourBytes = 16 + cols;
    const bytes = new Uint8Array((rows / 4) * fourBytes);
    eachWeight([rows, cols], (row, col) => {
      const at = Math.floor(row / 4) * fourBytes + 16 + 64 * Math.floor(col / 64);
      bytes[at + 16 * Math.floor((col % 64) / 16) + 4 * (row % 4) + (col % 4)]! +=
        code(row, col) * 4 ** Math.floor((col % 16) / 4);
    });
    const places = Array.from({ length: rows }, (_, row) => Math.floor(row / 4) * fourBytes + 4 * (row % 4));
    return withScale32(bytes, ...places);
  },
  hf_u8([rows, cols], code) {
    const packedRows = Math.ceil(rows / 4);
    const bytes = new Uint8Array(packedRows * cols);
    eachWeight([rows, cols], (row, col) => {
      bytes[(row % packedRows) * cols + col]! += code(row, col) * 4 ** Math.floor(row / packedRows);
    });
    return bytes;
  },
};

interface Case {
  readonly shape: [number, number];
  readonly tile?: TableTile;
}

const CASES: Partial<Record<TernaryEncodingName, readonly Case[]>> = {
  i2_s64: [{ shape: [3, 128] }, { shape: [5, 64] }, { shape: [4, 48] }],
  i2_s_r4: [{ shape: [8, 37] }, { shape: [4, 1] }],
  tl1: [
    { shape: [320, 256], tile: { BM: 160, BK: 64, bm: 32 } },
    { shape: [128, 128], tile: { BM: 128, BK: 64, bm: 64 } },
    { shape: [32, 48], tile: { BM: 16, BK: 16, bm: 16 } },
  ],
  tl2: [
    { shape: [320, 320], tile: { BM: 160, BK: 96, bm: 32 } },
    { shape: [128, 384], tile: { BM: 128, BK: 192, bm: 32 } },
    { shape: [64, 544], tile: { BM: 32, BK: 96, bm: 32 } },
    { shape: [32, 64], tile: { BM: 32, BK: 96, bm: 32 } },
  ],
  iq1_bn: [{ shape: [5, 128] }, { shape: [1, 64] }],
  iq2_bn: [{ shape: [5, 128] }, { shape: [1, 64] }],
  iq2_bn_r4: [{ shape: [8, 192] }, { shape: [4, 64] }],
  hf_u8: [{ shape: [12, 5] }, { shape: [10, 7] }, { shape: [1, 3] }, { shape: [5, 2] }],
};
const NAMES = Object.keys(CASES) as TernaryEncodingName[];

function randomCodes(count: number): Uint8Array {
  const random = new Random(11);
  return Uint8Array.from({ length: count }, () => random.integer(3));
}

function options(encoding: TernaryEncodingName, tile?: TableTile) {
  return { byteOrder: 'little', tile, scale: encoding === 'hf_u8' ? SCALE : undefined } as const;
}

function refused(message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BitnetError && message.test(error.message);
}

for (const encoding of NAMES) {
  for (const { shape, tile } of CASES[encoding]!) {
    const codes = randomCodes(shape[0] * shape[1]);
    const bytes = WRITE[encoding]!(shape, (row, col) => codes[row * shape[1] + col]!, tile);
    const title = `${encoding} ${shape.join('x')}`;

    layouts(`${title}: decodes what was written weight by weight, and encodes it alike`, () => {
      assert.is(encodedBytes(encoding, shape, tile), bytes.length);
      const result = decodeTernary(encoding, bytes, shape, options(encoding, tile));
      assert.equal([...result.codes], [...codes]);
      assert.is(result.scale, SCALE);
      assert.equal(Buffer.from(encodeTernary(encoding, codes, SCALE, shape, tile)), Buffer.from(bytes));
    });

    layouts(`${title}: decodes at any address, and into an array of the caller's`, () => {
      const into = new Uint8Array(codes.length + 9).fill(9);
      for (const shift of [1, 2, 3]) {
        const moved = new Uint8Array(bytes.length + shift + 5);
        moved.set(bytes, shift);
        const result = decodeTernary(encoding, moved.subarray(shift), shape, options(encoding, tile), into);
        assert.equal([...result.codes], [...codes]);
        assert.ok(into.subarray(codes.length).every((byte) => byte === 9));
      }
    });

    layouts(`${title}: refuses bytes that are cut off`, () => {
      const short = bytes.subarray(1);
      assert.throws(() => decodeTernary(encoding, short, shape, options(encoding, tile)), refused(/but there are/));
    });
  }
}

/** sha256 of what the engines themselves write for the weights of `engineCodes`, times 0.25. */
const ENGINES: [TernaryEncodingName, [number, number], TableTile | undefined, string][] = [
  // preprocess_weights_tl1 and _tl2 of bitnet.cpp's utils/convert-hf-to-gguf-bitnet.py, and the scale as its gguf-py puts it
  ['tl1', [320, 256], { BM: 160, BK: 64, bm: 32 }, '0e9c89fa7ac15c4c7a7ab839fb4bd03f6f7a93cf68b8388a984689a80f25e589'],
  ['tl1', [256, 128], { BM: 128, BK: 64, bm: 64 }, '808b7b3fcde242942b1cd17921eabb7c9f9613baf385a462d2aeb30c0ef4d0c1'],
  ['tl2', [320, 320], { BM: 160, BK: 96, bm: 32 }, 'b8bccfc3993443160fcbb9e38c7c3284fe6248a67deca36d1ffe25e59b3a1172'],
  ['tl2', [128, 384], { BM: 128, BK: 192, bm: 32 }, '4d1b76aced4a0bb47c94aab3c94242b79c6a4cf310bbfb0790f2124345e5f3dc'],
  ['tl2', [64, 544], { BM: 32, BK: 96, bm: 32 }, '518193a61985a8e5cae0f477a70ee43f0a5cd398718ba9aa85588d454d4e6cea'],
  // quantize_iq1_bn, quantize_iq2_bn and repack_iq2_bn of ik_llama.cpp's ggml/src/iqk/iqk_quantize.cpp
  ['iq1_bn', [8, 192], undefined, '8d42f8fda591d4b184c4e43c651b82ae9090eb79b0bc15b0142a79032082c074'],
  ['iq2_bn', [8, 192], undefined, '19cc7dd14080d13821686fdcf30def85732c500f5583e50870106a54ee994b61'],
  ['iq2_bn_r4', [8, 192], undefined, '9da8f4589b5b8123b7b3b54fb446b8196e9b67b8803605e3e7ff0c7a90a32006'],
];

function engineCodes(count: number): Uint8Array {
  let state = 7;
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * 3);
  });
}

for (const [encoding, shape, tile, sha256] of ENGINES) {
  layouts(`${encoding} ${shape.join('x')}: writes the bytes that its own engine writes`, () => {
    const bytes = encodeTernary(encoding, engineCodes(shape[0] * shape[1]), SCALE, shape, tile);
    assert.is(createHash('sha256').update(bytes).digest('hex'), sha256);
  });
}

layouts('only the scales have a byte order', () => {
  const shape: [number, number] = [4, 64];
  const codes = randomCodes(256);
  const places = { iq1_bn: [0, 15, 30, 45], iq2_bn: [0, 20, 40, 60], iq2_bn_r4: [0, 4, 8, 12] };
  for (const [encoding, at] of Object.entries(places) as [keyof typeof places, number[]][]) {
    const bytes = WRITE[encoding]!(shape, (row, col) => codes[row * 64 + col]!);
    for (const place of at) bytes.subarray(place, place + (encoding === 'iq1_bn' ? 2 : 4)).reverse();
    const result = decodeTernary(encoding, bytes, shape, { byteOrder: 'big' });
    assert.equal([...result.codes], [...codes]);
    assert.is(result.scale, SCALE);
  }
});

for (const encoding of ['iq1_bn', 'iq2_bn', 'iq2_bn_r4'] as const) {
  const shape: [number, number] = [8, 64];
  const rowBytes = encoding === 'iq1_bn' ? 15 : 20;
  const place = (row: number) => (encoding === 'iq2_bn_r4' ? Math.floor(row / 4) * 80 + 4 * (row % 4) : row * rowBytes);
  const setScale = (bytes: Uint8Array, row: number, scale: number, half: number) => {
    const view = new DataView(bytes.buffer);
    if (encoding === 'iq1_bn') view.setUint16(place(row), half, true);
    else view.setFloat32(place(row), scale, true);
  };

  layouts(`${encoding}: a row of scale zero is all zeros, whatever its codes`, () => {
    // ik_llama.cpp gives the weights of such a row the code 2; in files by others any code may be there.
    const bytes = WRITE[encoding]!(shape, (row) => (row === 5 && encoding !== 'iq1_bn' ? 3 : 2));
    setScale(bytes, 5, 0, 0);
    const { codes, scale } = decodeTernary(encoding, bytes, shape, { byteOrder: 'little' });
    assert.is(scale, SCALE);
    assert.ok(codes.every((code, i) => code === (Math.floor(i / 64) === 5 ? 1 : 2)));
    for (let row = 0; row < 8; row++) setScale(bytes, row, 0, 0);
    const zero = decodeTernary(encoding, bytes, shape, { byteOrder: 'little' });
    assert.ok(zero.scale === 0 && zero.codes.every((code) => code === 1));
  });

  layouts(`${encoding}: refuses rows of different scales, and scales that cannot be`, () => {
    const decode = (scale: number, half: number) => {
      const bytes = WRITE[encoding]!(shape, () => 2);
      setScale(bytes, 3, scale, half);
      return () => decodeTernary(encoding, bytes, shape, { byteOrder: 'little' });
    };
    assert.throws(decode(0.5, 0x3800), refused(/row 3 of the tensor has the scale 0\.5, rows before it 0\.25/));
    assert.throws(decode(-0.25, 0xb400), refused(/weight scale at byte \d+ of the tensor is -0\.25/));
    assert.throws(decode(Number.NaN, 0x7e00), refused(/scale at byte \d+ of the tensor is NaN/));
    assert.throws(decode(Number.POSITIVE_INFINITY, 0x7c00), refused(/is Infinity/));
  });
}

for (const encoding of ['i2_s64', 'i2_s_r4', 'iq2_bn', 'iq2_bn_r4', 'hf_u8'] as const) {
  layouts(`${encoding}: refuses the code 3, and says where`, () => {
    for (const [row, col] of [
      [0, 0],
      [2, 17],
      [3, 63],
    ] as const) {
      const bytes = WRITE[encoding]!([4, 64], (r, c) => (r === row && c === col ? 3 : 1));
      const decode = () => decodeTernary(encoding, bytes, [4, 64], options(encoding));
      assert.throws(decode, refused(new RegExp(`weight ${row * 64 + col} of the tensor has the code 3`)));
    }
  });
}

for (const encoding of ['tl1', 'tl2'] as const) {
  const shape: [number, number] = [32, 320];
  const tile = encoding === 'tl1' ? { BM: 32, BK: 64, bm: 32 } : { BM: 32, BK: 96, bm: 32 };

  layouts(`${encoding}: refuses table indices that no weights give`, () => {
    const bytes = WRITE[encoding]!(shape, () => 1, tile);
    // TL2 has 1,536 bytes of threes, 384 of signs and 256 of pairs.
    const indices = encoding === 'tl1' ? [0, 100, 2559] : [0, 1535, 2000];
    for (const at of indices) {
      const bad = Uint8Array.from(bytes);
      bad[at] = 0xe0;
      const decode = () => decodeTernary(encoding, bad, shape, options(encoding, tile));
      assert.throws(decode, refused(/weight \d+ of the tensor has a table index that no weights give/));
    }
  });

  layouts(`${encoding}: refuses to be read without a tile, and with one that does not fit`, () => {
    const bytes = WRITE[encoding]!(shape, () => 1, tile);
    const decode = (other?: TableTile) => () => decodeTernary(encoding, bytes, shape, options(encoding, other));
    assert.throws(decode(), refused(/laid out by the kernel \.ini of their conversion/));
    for (const [change, message] of [
      [{ BM: 64 }, /bm = 64, .* does not fit TL\d weights of 32 × 320: bm must/],
      [{ BM: 24 }, /bm must/],
      [{ BM: 0 }, /bm must/],
      [{ BK: 0 }, /bk must/],
      [{ BK: 100 }, /bk must/],
      ...(encoding === 'tl1' ? ([[{ bm: 48 }, /bmm must be 16, 32 or 64/]] as const) : []),
      ...(encoding === 'tl2' ? ([[{ BK: 168 }, /bk leaves 152 columns over/]] as const) : []),
    ] as const) {
      assert.throws(decode({ ...tile, ...change }), refused(message));
    }
  });
}

layouts('refuses shapes that do not fit', () => {
  const cases: [TernaryEncodingName, number[], RegExp][] = [
    ['i2_s', [3, 65], /195 values do not fill whole i2_s blocks of 128/],
    ['i2_s64', [3, 65], /195 values do not fill whole i2_s64 blocks of 64/],
    ['i2_s_r4', [6, 64], /6 rows do not fill whole i2_s_r4 blocks of 4/],
    ['tq1_0', [256, 128], /128 values do not fill/],
    ['iq1_bn', [64, 96], /96 values do not fill/],
    ['iq2_bn', [64, 32], /32 values do not fill/],
    ['iq2_bn_r4', [3, 64], /3 rows do not fill/],
    ['hf_u8', [0, 4], /shape 0 × 4 cannot be/],
    ['hf_u8', [2 ** 30, 2 ** 30], /cannot be/],
    ['hf_u8', [1.5, 4], /cannot be/],
  ];
  for (const [encoding, shape, message] of cases) assert.throws(() => encodedBytes(encoding, shape), refused(message));
});

layouts('refuses to encode what cannot be stored exactly', () => {
  const codes = new Uint8Array(256).fill(1);
  for (const encoding of ['tq1_0', 'tq2_0', 'iq1_bn'] as const) {
    assert.throws(
      () => encodeTernary(encoding, codes, 0.1, [1, 256]),
      refused(/float16, which cannot hold 0\.1 exactly/),
    );
    assert.is(
      decodeTernary(encoding, encodeTernary(encoding, codes, FLOAT16[0x2e66]!, [1, 256]), [1, 256], options(encoding))
        .scale,
      FLOAT16[0x2e66],
    );
  }
  for (const encoding of ['i2_s', 'iq2_bn'] as const) {
    assert.throws(
      () => encodeTernary(encoding, codes, 0.1, [1, 256]),
      refused(/float32, which cannot hold 0\.1 exactly/),
    );
  }
  assert.throws(() => encodeTernary('i2_s', codes, Number.NaN, [1, 256]), refused(/weight scale of the tensor is NaN/));
  assert.throws(() => encodeTernary('i2_s', codes, -1, [1, 256]), refused(/weight scale of the tensor is -1/));
  assert.throws(() => encodeTernary('i2_s', codes, 1, [1, 128]), refused(/256 codes are not 1 × 128/));
  codes[7] = 3;
  assert.throws(() => encodeTernary('i2_s', codes, 1, [1, 256]), refused(/weight 7 has the code 3/));
});

layouts('packed weights of Hugging Face want the scale that is stored elsewhere', () => {
  assert.throws(
    () => decodeTernary('hf_u8', new Uint8Array(4), [4, 4], { byteOrder: 'little' }),
    refused(/weight_scale/),
  );
});

layouts.run();
