import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import {
  decodeTernary,
  encodedBytes,
  encodeTernary,
  FLOAT,
  FLOAT16,
  type FloatEncodingName,
  type TernaryEncodingName,
} from '../../compiler/import/encodings/index.ts';
import type { TableTile } from '../../compiler/ir/model.ts';

const roundTrips = suite('encodings, round trips');

interface Layout {
  readonly shape: [number, number];
  readonly tile?: TableTile;
}

const upTo = (max: number) => fc.integer({ min: 1, max });
const times = (rows: number, cols: number) =>
  fc.tuple(upTo(6), upTo(4)).map(([r, c]): Layout => ({ shape: [r * rows, c * cols] }));

/** Shapes, and tiles where they are needed, that each encoding can hold. */
const LAYOUTS: Record<TernaryEncodingName, fc.Arbitrary<Layout>> = {
  i2_s: times(1, 128),
  i2_s64: times(1, 64),
  i2_s_r4: times(4, 13),
  tq1_0: times(1, 256),
  tq2_0: times(1, 256),
  iq1_bn: times(1, 64),
  iq2_bn: times(1, 64),
  iq2_bn_r4: times(4, 64),
  hf_u8: times(1, 11),
  tl1: fc
    .tuple(fc.constantFrom(16, 32, 64), upTo(3), upTo(3), upTo(2), upTo(3))
    .map(([bm, inTile, inBlock, tiles, blocks]) => {
      const tile = { BM: bm * inTile, BK: (256 / bm) * inBlock, bm };
      return { shape: [tile.BM * tiles, tile.BK * blocks], tile };
    }),
  tl2: fc
    .tuple(upTo(3), upTo(8), upTo(2), upTo(3), fc.integer({ min: 0, max: 8 }))
    .map(([inTile, inBlock, tiles, blocks, rest]) => {
      const tile = { BM: 32 * inTile, BK: 24 * inBlock, bm: 32 };
      const left = (32 * rest) % tile.BK;
      return { shape: [tile.BM * tiles, tile.BK * blocks + (left % 32 === 0 ? left : 0)], tile };
    }),
};

for (const encoding of Object.keys(LAYOUTS) as TernaryEncodingName[]) {
  roundTrips(`${encoding}: any codes and scale come back, from as many bytes as announced`, () => {
    const scales = fc.integer({ min: 1, max: 0x7bff }).map((half) => FLOAT16[half]!);
    const property = fc.property(LAYOUTS[encoding], scales, fc.nat(), ({ shape, tile }, scale, seed) => {
      const random = new Random(seed);
      const codes = Uint8Array.from({ length: shape[0] * shape[1] }, () => random.integer(3));
      const bytes = encodeTernary(encoding, codes, scale, shape, tile);
      assert.is(bytes.length, encodedBytes(encoding, shape, tile));
      const result = decodeTernary(encoding, bytes, shape, { byteOrder: 'little', scale, tile });
      assert.is(Buffer.compare(result.codes, codes), 0);
      assert.is(result.scale, scale);
    });
    fc.assert(property, { seed: 3, numRuns: 40 });
  });
}

for (const encoding of Object.keys(FLOAT) as FloatEncodingName[]) {
  roundTrips(`${encoding}: what was encoded once is encoded alike again, or nearer`, () => {
    const { blockValues, encode, decode } = FLOAT[encoding];
    const property = fc.property(upTo(3), fc.nat(), fc.integer({ min: -8, max: 8 }), (blocks, seed, magnitude) => {
      const random = new Random(seed);
      const values = Float32Array.from({ length: blocks * blockValues }, () => random.normal() * 2 ** magnitude);
      const bytes = encode(values);
      assert.is(bytes.length, encodedBytes(encoding, [blocks, blockValues]));
      const once = new Float32Array(values.length);
      decode(bytes, once);
      const twice = new Float32Array(values.length);
      decode(encode(once), twice);
      if (encoding === 'q6_k') {
        const change = Math.hypot(...twice.map((value, i) => value - once[i]!));
        assert.ok(change <= 0.02 * Math.hypot(...once), `${change}`);
      } else assert.equal([...twice], [...once]);
    });
    fc.assert(property, { seed: 5, numRuns: 40 });
  });
}

roundTrips.run();
