import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { referenceSums } from '../../compiler/kernels/bitlinear-i2.ts';
import { texel } from '../../compiler/kernels/bitlinear-texel.ts';
import { families, LAYOUTS, layoutOf, SKIPPING } from '../../compiler/kernels/index.ts';
import { type Layout, packedBytes, stretchOf } from '../../compiler/kernels/layout.ts';

const { i2, tl1, tl2 } = LAYOUTS;

const matrix = fc
  .record({ rows: fc.integer({ min: 1, max: 50 }), cols: fc.integer({ min: 1, max: 300 }) })
  .chain(({ rows, cols }) =>
    fc.record({
      rows: fc.constant(rows),
      cols: fc.constant(cols),
      codes: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: rows * cols, maxLength: rows * cols }),
    }),
  );

/** Where a code is, from the drawing of its layout: row r and column c of a block that begins at `block`. */
type Drawing = (packed: Uint8Array, block: number, r: number, c: number) => number;

const byteBits = (byte: number, shift: number, bits: number) => (byte >> shift) & ((1 << bits) - 1);

const DRAWINGS: readonly (readonly [Layout, columns: number, blockBytes: number, Drawing])[] = [
  [i2, 16, 64, (packed, block, r, c) => byteBits(packed[block + 4 * r + (c % 4)], 2 * Math.floor(c / 4), 2)],
  [
    tl1,
    64,
    256,
    (packed, block, r, c) => {
      const [j, s] = [Math.floor(c / 16), Math.floor((c % 16) / 4)];
      const pair = byteBits(packed[block + 64 * s + 16 * j + r], c % 4 < 2 ? 0 : 4, 4);
      return c % 2 === 0 ? Math.floor(pair / 3) : pair % 3;
    },
  ],
  [
    tl2,
    96,
    320,
    (packed, block, r, c) => {
      const [j, s] = [Math.floor(c / 24), Math.floor((c % 24) / 6)];
      const index = byteBits(packed[block + 64 * s + 16 * j + r], c % 6 < 3 ? 0 : 4, 4);
      const negative = byteBits(packed[block + 256 + 16 * j + r], Math.floor((c % 24) / 3), 1);
      // The weights of n = 9a + 3b + c, each -1, 0 or 1.
      const n = negative ? -index : index;
      const weights = [-1, 0, 1].flatMap((a) => [-1, 0, 1].flatMap((b) => [-1, 0, 1].map((last) => [a, b, last])));
      return weights.find(([a, b, last]) => 9 * a + 3 * b + last === n)![c % 3] + 1;
    },
  ],
];

/** Layouts whose rows or columns lie apart: where row r and column c are in a matrix of so many, and what that is padded to. */
const APART: readonly (readonly [
  Layout,
  padded: (rows: number, cols: number) => readonly [number, number],
  at: (packed: Uint8Array, r: number, c: number, rows: number, cols: number) => number,
])[] = [
  [
    SKIPPING.rows,
    (rows, cols) => [16 * Math.ceil(rows / 16), 256 * Math.ceil(cols / 256)],
    (packed, r, c, _rows, cols) => {
      const byte = packed[r * (cols / 4) + 64 * Math.floor(c / 256) + (c % 64)];
      return byteBits(byte, 2 * Math.floor((c % 256) / 64), 2);
    },
  ],
  [
    texel,
    (rows, cols) => [16 * Math.ceil(rows / 16), 32 * Math.ceil(cols / 32)],
    (packed, r, c, _rows, cols) => {
      const word = new DataView(packed.buffer).getUint16(2 * Math.floor((r * cols + c) / 8), true);
      return byteBits(word, 2 * (c % 8), 2);
    },
  ],
  [
    SKIPPING.columns,
    (rows, cols) => [256 * Math.ceil(rows / 256), 4 * Math.ceil(cols / 4)],
    (packed, r, c, rows) => {
      const group = Math.floor((r % 256) / 16);
      const byte = 16 * Math.floor((r % 16) / 4) + 4 * Math.floor(group / 4) + (r % 4);
      return byteBits(packed[c * (rows / 4) + 64 * Math.floor(r / 256) + byte], 2 * (group % 4), 2);
    },
  ],
];

for (const [layout, padded, codeAt] of APART) {
  test(`${layout.id}: every code is where the drawing says, and the padding is zero weights`, () => {
    fc.assert(
      fc.property(matrix, ({ rows, cols, codes }) => {
        const packed = layout.pack(Uint8Array.from(codes), rows, cols);
        const [allRows, allCols] = padded(rows, cols);
        assert.is(packed.length, (allRows * allCols) / 4);
        assert.is(packedBytes(layout, rows, cols), packed.length);
        for (let row = 0; row < allRows; row++) {
          for (let col = 0; col < allCols; col++) {
            const expected = row < rows && col < cols ? codes[row * cols + col] : 1;
            const actual = codeAt(packed, row, col, allRows, allCols);
            if (actual !== expected) assert.unreachable(`row ${row}, column ${col} is ${actual}, not ${expected}`);
          }
        }
      }),
      { numRuns: 30 },
    );
  });
}

for (const [layout, columns, blockBytes, codeAt] of DRAWINGS) {
  test(`${layout.id}: every code is where the drawing says, and the padding is zero weights`, () => {
    fc.assert(
      fc.property(matrix, ({ rows, cols, codes }) => {
        const packed = layout.pack(Uint8Array.from(codes), rows, cols);
        const [groups, blocks] = [Math.ceil(rows / 16), Math.ceil(cols / columns)];
        assert.is(packed.length, groups * blocks * blockBytes);
        assert.is(packedBytes(layout, rows, cols), packed.length);
        for (let row = 0; row < 16 * groups; row++) {
          for (let col = 0; col < columns * blocks; col++) {
            const block = (Math.floor(row / 16) * blocks + Math.floor(col / columns)) * blockBytes;
            const expected = row < rows && col < cols ? codes[row * cols + col] : 1;
            const actual = codeAt(packed, block, row % 16, col % columns);
            if (actual !== expected) assert.unreachable(`row ${row}, column ${col} is ${actual}, not ${expected}`);
          }
        }
      }),
      { numRuns: 30 },
    );
  });
}

for (const layout of [...DRAWINGS, ...APART].map(([layout]) => layout)) {
  test(`${layout.id}: a row group unpacks to the codes it was packed from`, () => {
    fc.assert(
      fc.property(matrix, ({ rows, cols, codes }) => {
        const packed = layout.pack(Uint8Array.from(codes), rows, cols);
        for (let group = 0; group < Math.ceil(rows / 16); group++) {
          const { offset, bytes } = stretchOf(layout, rows, cols, group);
          const unpacked = layout.unpackGroup(packed.subarray(offset, offset + bytes), cols, group);
          for (let i = 0; i < 16 * cols; i++) assert.is(unpacked[i], codes[group * 16 * cols + i] ?? 1);
        }
      }),
      { numRuns: 30 },
    );
  });
}

test('bits a weight: two, two, and five for three', () => {
  const bits = (layout: Layout) => (8 * packedBytes(layout, 960, 960)) / 960 ** 2;
  assert.equal([bits(i2), bits(tl1), bits(tl2)], [2, 2, 5 / 3]);
});

test('every layout of a family is known, is drawn here, and no other is known', () => {
  const drawn = [...DRAWINGS, ...APART].map(([{ id }]) => id);
  for (const { layout } of families) assert.ok(drawn.includes(layoutOf(layout).id), layout);
  assert.throws(() => layoutOf('i2_r16c32'), /no kernel family knows the weight layout/);
});

test('the reference sums weights times activations', () => {
  const codes = Uint8Array.of(0, 1, 2, 2, 2, 2, 1, 1, 1);
  assert.equal([...referenceSums(codes, 3, 3, Int8Array.of(-128, 100, 127))], [255, 99, 0]);
});

test.run();
