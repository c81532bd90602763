// The coarse copy of a head: from it, and a bound on its error, follow upper bounds of all logits, so that only those
// rows are read in full which may matter.
//
// Rows come in groups of 16, columns in blocks of 32, padded to an even number of blocks. Row r has a scale S, every
// block of it a factor u of 0 to 255, and value c a code k of 0 to 31: it is u S (k - 15.5) / 16, coarsely
// u S (n - 7.5) / 8 with n = floor(k / 2), four bits. With t = u S / 8 the step of n:
//
// A group, padded to 64 bytes:
//   codes    blocks x 256 bytes: byte 64 i + 4 r + j of a block holds n of row r, columns 8 i + j in bits 3..0 and
//            8 i + 4 + j in bits 7..4
//   factors  blocks x 16 bytes: u of each row
//   steps    16 float32: S / 8 of each row
//   radii    16 float32: |logit - coarse logit| <= radius * |hidden state|, see `slack`
//
// After the groups of 256 rows, where there are five bits, a record for each of those rows, padded to 4 bytes:
//   bits     blocks x 4 bytes: bit c of a block's is the last bit of k of column c
//   factors  blocks x 1 byte: u again
//   step     float32: S / 8 again
//   gain     float32: how much less the radius is, of the values with five bits
//   change   float32: the norm of what the fifth bit adds to the values
import type { ScreenBits } from '../ir/plan.ts';
import { FEW_TOKENS } from './spec.ts';

/** Rows whose groups lie together, and behind them their records: all but the last stretch of a table has as many. */
export const STRETCH_ROWS = 256;

/** The most columns whose sums of fifth bits fit in an int32: 255 * 127 for each. */
export const SCREEN_COLUMNS = 1 << 16;

/** Values outside these, and hidden states, would over- or underflow somewhere: such rows are always read in full. */
const LARGEST = 2 ** 40;
const SMALLEST = 2 ** -40;

/** Rounded up, with room for what float64 sums lose: never less than the value. */
const up = (value: number): number => Math.fround(value * (1 + 2 ** -20));

/** Where things are in the coarse copy of a table of `cols` columns. */
export function screenLayout(cols: number) {
  const blocks = Math.ceil(cols / 64) * 2;
  const factors = blocks * 256;
  const steps = factors + blocks * 16;
  const recordSteps = blocks * 4 + Math.ceil(blocks / 4) * 4;
  return {
    blocks,
    factors,
    steps,
    groupBytes: Math.ceil((steps + 128) / 64) * 64,
    recordFactors: blocks * 4,
    recordSteps,
    recordBytes: recordSteps + 12,
  };
}

/** Bytes of a coarse copy. */
export function screenBytes(rows: number, cols: number, bits: ScreenBits): number {
  const { groupBytes, recordBytes } = screenLayout(cols);
  return Math.ceil(rows / 16) * groupBytes + (bits === 5 ? rows * recordBytes : 0);
}

/** Bytes of scratch that screening takes of each thread: `Work` of templates/cpp/screen.cpp.hbs. */
export function screenScratch(cols: number): number {
  const { blocks } = screenLayout(cols);
  const query = blocks * (2 * 32 + 4 + 4 * 32);
  return FEW_TOKENS * (query + 2 * (256 * 8 + 8) + 64) + 128;
}

/**
 * What roundings may add to |logit - coarse logit|, as a share of |row| |hidden state|:
 * - the hidden state as 15-bit integers of step m / 16256, m its largest value: an error of at most 0.53 steps each (half
 *   a step, and what float32 loses in dividing by it), sqrt(cols) * 0.53 / 16256 in all, as m <= |hidden state|;
 * - the head's own sum in float32: n additions and as many multiplications, in whatever order, are off by at most
 *   2 n units of 2^-24 in the sum of |w h|, which is at most |row| |hidden state|;
 * - the coarse sum in float32, as long as there are blocks, and a few operations on what comes of it.
 */
const slack = (cols: number): number =>
  (Math.sqrt(cols) * 0.53) / 16256 + (2 * cols + screenLayout(cols).blocks + 64) * 2 ** -24;

/** Where in a coarse copy of `rows` rows the group and the record of a row are. */
export function placesOf(row: number, rows: number, cols: number, bits: ScreenBits) {
  const { groupBytes, recordBytes } = screenLayout(cols);
  const first = Math.floor(row / STRETCH_ROWS) * STRETCH_ROWS;
  const start = screenBytes(first, cols, bits);
  const groups = Math.ceil(Math.min(STRETCH_ROWS, rows - first) / 16);
  return {
    group: start + Math.floor((row - first) / 16) * groupBytes,
    record: start + groups * groupBytes + (row - first) * recordBytes,
  };
}

/**
 * Makes the coarse copy of some rows of a table: rows x cols values, exactly those that the head's decoder yields. What
 * comes of whole stretches can be put together.
 */
export function coarseCopy(
  values: Float32Array,
  rows: number,
  cols: number,
  bits: ScreenBits,
): Uint8Array<ArrayBuffer> {
  const { blocks, factors, steps, recordFactors, recordSteps } = screenLayout(cols);
  const bytes = new Uint8Array(screenBytes(rows, cols, bits));
  const view = new DataView(bytes.buffer);
  const largest = new Float64Array(blocks);
  const share = slack(cols);
  for (let row = 0; row < rows; row++) {
    const { group, record } = placesOf(row, rows, cols, bits);
    const lane = row % 16;
    const start = row * cols;
    const most = blockMaxima(values, start, cols, largest);
    view.setFloat32(group + steps + 64 + 4 * lane, Number.POSITIVE_INFINITY, true);
    if (most !== 0 && !(most >= SMALLEST && most <= LARGEST)) continue;
    const step = up(most / (8 * 255));
    let [norm, coarse, fine, change] = [0, 0, 0, 0];
    for (let block = 0; block < blocks; block++) {
      if (largest[block] === 0) continue;
      const factor = Math.min(255, Math.ceil(largest[block]! / (8 * step)));
      const half = (factor * step) / 2;
      const inverse = 1 / half;
      const begin = block * 32;
      const end = Math.min(cols, begin + 32);
      const codes = group + block * 256 + 4 * lane;
      let fifths = 0;
      for (let column = begin; column < end; column++) {
        const value = values[start + column]!;
        let code = (value * inverse + 16) | 0;
        if (code > 31) code = 31;
        const c = column - begin;
        bytes[codes + ((c & 24) << 3) + (c & 3)]! |= (code >> 1) << (c & 4);
        fifths |= (code & 1) << c;
        const error5 = value - (code - 15.5) * half;
        const error4 = value - ((code >> 1) - 7.5) * 2 * half;
        norm += value * value;
        fine += error5 * error5;
        coarse += error4 * error4;
      }
      bytes[group + factors + block * 16 + lane] = factor;
      if (bits === 5) {
        bytes[record + recordFactors + block] = factor;
        view.setUint32(record + block * 4, fifths >>> 0, true);
      }
      change += (end - begin) * half * half * 0.25;
    }
    // Longer than the row and both of its copies.
    const longest = Math.sqrt(norm) + Math.sqrt(coarse) + Math.sqrt(fine);
    const radius = up(Math.sqrt(coarse) + share * longest);
    const gain = Math.sqrt(coarse) - Math.sqrt(fine);
    view.setFloat32(group + steps + 4 * lane, step, true);
    view.setFloat32(group + steps + 64 + 4 * lane, radius, true);
    if (bits === 4) continue;
    view.setFloat32(record + recordSteps, step, true);
    view.setFloat32(record + recordSteps + 4, gain - up(longest) * 2 ** -20, true);
    view.setFloat32(record + recordSteps + 8, up(Math.sqrt(change)), true);
  }
  return bytes;
}

/** The largest magnitude of each block, and returned that of the row; NaN where a value is none. */
function blockMaxima(values: Float32Array, start: number, cols: number, maxima: Float64Array): number {
  let most = 0;
  for (let block = 0; block < maxima.length; block++) {
    let largest = 0;
    const end = start + Math.min(cols, block * 32 + 32);
    for (let i = start + block * 32; i < end; i++) {
      const magnitude = Math.abs(values[i]!);
      // NaN, once there, stays: nothing is larger.
      if (magnitude > largest || Number.isNaN(magnitude)) largest = magnitude;
    }
    maxima[block] = largest;
    if (largest > most || Number.isNaN(largest)) most = largest;
  }
  return most;
}
