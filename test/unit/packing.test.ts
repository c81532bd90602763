import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packI2, referenceSums, unpackI2Group } from '../../compiler/kernels/bitlinear-i2.ts';

const pad16 = (n: number) => Math.ceil(n / 16) * 16;

const matrix = fc
  .record({ rows: fc.integer({ min: 1, max: 50 }), cols: fc.integer({ min: 1, max: 70 }) })
  .chain(({ rows, cols }) =>
    fc.record({
      rows: fc.constant(rows),
      cols: fc.constant(cols),
      codes: fc.array(fc.integer({ min: 0, max: 2 }), { minLength: rows * cols, maxLength: rows * cols }),
    }),
  );

test('every code is where the drawing says: byte 4r + j of a block, bits 2 * quad', () => {
  fc.assert(
    fc.property(matrix, ({ rows, cols, codes }) => {
      const packed = packI2(Uint8Array.from(codes), rows, cols);
      assert.is(packed.length, (pad16(rows) * pad16(cols)) / 4);
      const blocks = pad16(cols) / 16;
      for (let row = 0; row < pad16(rows); row++) {
        for (let col = 0; col < pad16(cols); col++) {
          const block = Math.floor(row / 16) * blocks + Math.floor(col / 16);
          const [r, c] = [row % 16, col % 16];
          const code = (packed[block * 64 + 4 * r + (c % 4)] >> (2 * Math.floor(c / 4))) & 3;
          assert.is(code, row < rows && col < cols ? codes[row * cols + col] : 1, `row ${row}, column ${col}`);
        }
      }
    }),
    { numRuns: 40 },
  );
});

test('a row group unpacks to the codes it was packed from', () => {
  fc.assert(
    fc.property(matrix, ({ rows, cols, codes }) => {
      const packed = packI2(Uint8Array.from(codes), rows, cols);
      const groupBytes = 4 * pad16(cols);
      for (let group = 0; group < pad16(rows) / 16; group++) {
        const unpacked = unpackI2Group(packed.subarray(group * groupBytes, (group + 1) * groupBytes), cols);
        for (let i = 0; i < 16 * cols; i++) assert.is(unpacked[i], codes[group * 16 * cols + i] ?? 1);
      }
    }),
    { numRuns: 40 },
  );
});

test('the reference sums weights times activations', () => {
  const codes = Uint8Array.of(0, 1, 2, 2, 2, 2, 1, 1, 1);
  assert.equal([...referenceSums(codes, 3, 3, Int8Array.of(-128, 100, 127))], [255, 99, 0]);
});

test.run();
