import { BitnetError } from '../../../errors.ts';
import type { TableTile } from '../../ir/model.ts';
import { checkedScale, exactFloat32 } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

/** The scale is a float32 at the next multiple of this, and takes as much. */
const ALIGNMENT = 32;

/** Four weights as a word of four codes for each byte that holds two pairs; a nibble of no pair gives codes 3. */
const PAIRS = Int32Array.from({ length: 256 }, (_, byte) => {
  const [high, low] = [byte >> 4, byte & 15];
  if (high > 8 || low > 8) return 0x03030303;
  return Math.floor(high / 3) | ((high % 3) << 8) | (Math.floor(low / 3) << 16) | ((low % 3) << 24);
});

/** Three codes in 24 bits for a magnitude, plus 16 for the sign bit; a magnitude above 13 gives codes 3. */
const TRIPLES = Int32Array.from({ length: 32 }, (_, index) => {
  const magnitude = index & 15;
  if (magnitude > 13) return 0x030303;
  const number = 13 + (index & 16 ? -magnitude : magnitude);
  return Math.floor(number / 9) | ((Math.floor(number / 3) % 3) << 8) | ((number % 3) << 16);
});

/** Rows of a group of 32 in the order of TL2's bytes: eights 0, 2, 1, 3. */
const TL2_ROWS = Int32Array.from({ length: 32 }, (_, p) => [0, 16, 8, 24][p >> 3]! + (p & 7));

/** Walks the bytes of pairs in file order: at each step the tensor's row and first column of 16 or 32 bytes. */
type Visit = (row: number, col: number, at: number) => void;

/**
 * bitnet.cpp's TL1. Two weights are a number of two trits, w0 and w1 as 3 c0 + c1; two such pairs, four columns of one
 * row, are the high and low nibble of a byte. From the outermost loop in: BM rows, BK columns, bm rows of those,
 * 256 / bm columns of those, 16 rows, 4 columns, and then 16 bytes, one for each row.
 */
export const tl1: TernaryEncoding = {
  bytes(rows, cols, tile) {
    checkTl1(rows, cols, tile);
    return padded((rows * cols) / 4) + ALIGNMENT;
  },
  decode(bytes, codes, { rows, cols, tile, byteOrder }) {
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    const stride = cols / 4;
    let threes = 0;
    walkTl1(rows, cols, tile!, (row, col, at) => {
      let to = row * stride + col / 4;
      for (let i = at; i < at + 16; i++, to += stride) {
        const four = PAIRS[bytes[i]!]!;
        threes |= four & (four >>> 1);
        out[to] = four;
      }
    });
    if (threes) refuseIndex(codes);
    return scaleAt(padded(codes.length / 4), bytes, byteOrder);
  },
  encode(codes, scale, { rows, cols, tile }, bytes) {
    walkTl1(rows, cols, tile!, (row, col, at) => {
      let from = row * cols + col;
      for (let i = at; i < at + 16; i++, from += cols) bytes[i] = pairs(codes, from);
    });
    setScaleAt('tl1', padded(codes.length / 4), scale, bytes);
  },
};

/**
 * bitnet.cpp's TL2. The largest multiple of BK columns is stored in threes, what is left over in pairs as of TL1.
 * A three w0 w1 w2 is the number 9 w0 + 3 w1 + w2 from -13 to 13: its magnitude is a nibble, its sign a bit elsewhere.
 *
 * 1. magnitudes: from the outermost loop in: BM rows, BK columns, 32 rows, 6 columns, and then 32 bytes, one for each
 *    row in the order 0-7, 16-23, 8-15, 24-31; the first three is the high nibble.
 * 2. signs: BM rows, BK columns, 32 rows, 24 columns, and then 16 little-endian words; the sign of three t (0 to 7) of
 *    row r is bit 15 - 2t - (r div 16) of word r mod 16.
 * 3. pairs: BM rows, 32 columns, 32 rows, 4 columns, and then 32 bytes, the rows in that same order.
 * 4. zeros, as if 256 columns were in pairs, up to a multiple of 32, and the scale.
 *
 * `bm` says nothing here: the kernels that bitnet.cpp generates for TL2 take 32 rows at once whatever their .ini says.
 */
export const tl2: TernaryEncoding = {
  bytes(rows, cols, tile) {
    checkTl2(rows, cols, tile);
    return padded(tl2Bytes(rows, cols)) + ALIGNMENT;
  },
  decode(bytes, codes, { rows, cols, tile, byteOrder }) {
    const out = new Int32Array(codes.buffer, codes.byteOffset, codes.length / 4);
    const stride = cols / 4;
    const { BM, BK } = tile!;
    const inThrees = cols - (cols % BK);
    let threes = 0;
    let sign = (rows * inThrees) / 6;
    walk(rows, inThrees, BM, BK, 24, (row, col, at) => {
      for (let p = 0; p < 32; p++) {
        const r = TL2_ROWS[p]!;
        const word = sign + 2 * (r & 15);
        // Bit 25 - 2t is the sign of three t.
        const signs = (bytes[word]! | (bytes[word + 1]! << 8)) << (10 + (r >> 4));
        let to = (row + r) * stride + col / 4;
        for (let half = 0; half < 64; half += 32) {
          const first = bytes[at + 2 * half + p]!;
          const second = bytes[at + 2 * half + 32 + p]!;
          const shifted = signs >> (13 - half / 4);
          const a = TRIPLES[(first >> 4) | ((shifted >> 8) & 16)]!;
          const b = TRIPLES[(first & 15) | ((shifted >> 6) & 16)]!;
          const c = TRIPLES[(second >> 4) | ((shifted >> 4) & 16)]!;
          const d = TRIPLES[(second & 15) | ((shifted >> 2) & 16)]!;
          threes |= (a & (a >> 1)) | (b & (b >> 1)) | (c & (c >> 1)) | (d & (d >> 1));
          out[to] = a | (b << 24);
          out[to + 1] = (b >> 8) | (c << 16);
          out[to + 2] = (c >> 16) | (d << 8);
          to += 3;
        }
      }
      sign += 32;
    });
    walk(rows, cols - inThrees, BM, 32, 4, (row, col, at) => {
      const start = (rows * inThrees * 5) / 24 + at;
      for (let p = 0; p < 32; p++) {
        const four = PAIRS[bytes[start + p]!]!;
        threes |= four & (four >>> 1);
        out[(row + TL2_ROWS[p]!) * stride + (inThrees + col) / 4] = four;
      }
    });
    if (threes) refuseIndex(codes);
    return scaleAt(padded(tl2Bytes(rows, cols)), bytes, byteOrder);
  },
  encode(codes, scale, { rows, cols, tile }, bytes) {
    const { BM, BK } = tile!;
    const inThrees = cols - (cols % BK);
    let sign = (rows * inThrees) / 6;
    walk(rows, inThrees, BM, BK, 24, (row, col, at) => {
      for (let p = 0; p < 32; p++) {
        const r = TL2_ROWS[p]!;
        const from = (row + r) * cols + col;
        let signs = 0;
        for (let t = 0; t < 8; t++) {
          const number = 9 * codes[from + 3 * t]! + 3 * codes[from + 3 * t + 1]! + codes[from + 3 * t + 2]! - 13;
          bytes[at + 32 * (t >> 1) + p]! |= Math.abs(number) << (t & 1 ? 0 : 4);
          if (number < 0) signs |= 1 << (15 - 2 * t - (r >> 4));
        }
        bytes[sign + 2 * (r & 15)]! |= signs & 0xff;
        bytes[sign + 2 * (r & 15) + 1]! |= signs >> 8;
      }
      sign += 32;
    });
    walk(rows, cols - inThrees, BM, 32, 4, (row, col, at) => {
      const start = (rows * inThrees * 5) / 24 + at;
      for (let p = 0; p < 32; p++) bytes[start + p] = pairs(codes, (row + TL2_ROWS[p]!) * cols + inThrees + col);
    });
    setScaleAt('tl2', padded(tl2Bytes(rows, cols)), scale, bytes);
  },
};

function walkTl1(rows: number, cols: number, { BM, BK, bm }: TableTile, visit: Visit): void {
  const by = 256 / bm;
  let at = 0;
  for (let tile = 0; tile < rows; tile += BM) {
    for (let block = 0; block < cols; block += BK) {
      for (let group = tile; group < tile + BM; group += bm) {
        for (let run = block; run < block + BK; run += by) {
          for (let row = group; row < group + bm; row += 16) {
            for (let col = run; col < run + by; col += 4, at += 16) visit(row, col, at);
          }
        }
      }
    }
  }
}

/** The loops of TL2, 32 rows and `step` columns at a time; a step takes four bytes a row for 24 columns, one for 4. */
function walk(rows: number, cols: number, BM: number, BK: number, step: number, visit: Visit): void {
  const stepBytes = step === 24 ? 128 : 32;
  let at = 0;
  for (let tile = 0; tile < rows; tile += BM) {
    for (let block = 0; block < cols; block += BK) {
      for (let row = tile; row < tile + BM; row += 32) {
        for (let col = block; col < block + BK; col += step, at += stepBytes) visit(row, col, at);
      }
    }
  }
}

function pairs(codes: Uint8Array, at: number): number {
  return ((3 * codes[at]! + codes[at + 1]!) << 4) | (3 * codes[at + 2]! + codes[at + 3]!);
}

/** Bytes before the scale: whatever BK is, bitnet.cpp reserves as much as if 256 columns were in pairs. */
function tl2Bytes(rows: number, cols: number): number {
  return Math.floor((Math.floor(((cols - 256) * rows) / 3) * 5) / 8) + 64 * rows;
}

function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function checkTl1(rows: number, cols: number, tile: TableTile | undefined): void {
  const { BM, BK, bm } = given('TL1', tile);
  if (![16, 32, 64].includes(bm)) misfit('TL1', rows, cols, tile!, 'bmm must be 16, 32 or 64');
  if (BM % bm !== 0 || rows % BM !== 0) {
    misfit('TL1', rows, cols, tile!, 'bm must be a multiple of bmm and divide the rows');
  }
  if (BK % (256 / bm) !== 0 || cols % BK !== 0) {
    misfit('TL1', rows, cols, tile!, `bk must be a multiple of ${256 / bm} and divide the columns`);
  }
}

function checkTl2(rows: number, cols: number, tile: TableTile | undefined): void {
  const { BM, BK } = given('TL2', tile);
  if (BM % 32 !== 0 || rows % BM !== 0) {
    misfit('TL2', rows, cols, tile!, 'bm must be a multiple of 32 and divide the rows');
  }
  if (BK === 0 || BK % 24 !== 0) misfit('TL2', rows, cols, tile!, 'bk must be a multiple of 24');
  const rest = cols % BK;
  if (rest % 32 !== 0 || rest > 256) {
    misfit('TL2', rows, cols, tile!, `bk leaves ${rest} columns over, which must be a multiple of 32 up to 256`);
  }
}

function given(type: string, tile: TableTile | undefined): TableTile {
  if (tile) return tile;
  throw new BitnetError(`${type} weights are laid out by the kernel .ini of their conversion, which is not given`, {
    hint: 'Give the .ini that was current when the file was converted: --config FILE.ini',
  });
}

function misfit(type: string, rows: number, cols: number, { BM, BK, bm }: TableTile, why: string): never {
  throw new BitnetError(
    `the tile bm = ${BM}, bk = ${BK}, bmm = ${bm} does not fit ${type} weights of ${rows} × ${cols}: ${why}`,
  );
}

function refuseIndex(codes: Uint8Array): never {
  throw new BitnetError(`weight ${codes.indexOf(3)} of the tensor has a table index that no weights give`, {
    hint: 'The file is damaged, or it was converted with another kernel .ini than the one given.',
  });
}

function scaleAt(at: number, bytes: Uint8Array, byteOrder: 'little' | 'big'): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return checkedScale(view.getFloat32(at, byteOrder === 'little'), at);
}

function setScaleAt(name: string, at: number, scale: number, bytes: Uint8Array): void {
  new DataView(bytes.buffer, bytes.byteOffset).setFloat32(at, exactFloat32(name, scale), true);
}
