// The screened head against the whole one, bit for bit, on every target that runs here.
import childProcess from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import type { ScreenBits } from '../../compiler/ir/plan.ts';
import { coarseCopy, screenBytes, screenLayout } from '../../compiler/kernels/screen.ts';
import { render } from '../../compiler/render/environment.ts';
import { screenView, tableView } from '../../compiler/render/views.ts';
import { packageRoot } from '../../package-root.ts';
import { nativeTarget } from '../../targets/index.ts';
import { type ProgramBed, programBeds, runOn, skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';

const execFile = promisify(childProcess.execFile);

interface Table {
  readonly encoding: FloatEncodingName;
  readonly rows: number;
  readonly cols: number;
  readonly bits: ScreenBits;
  /** What of it is unlike a trained head. */
  readonly hostile?: (values: Float32Array, cols: number) => void;
}

const TABLES: Readonly<Record<string, Table>> = {
  'f16 with five bits': { encoding: 'f16', rows: 500, cols: 128, bits: 5 },
  'f16 with four bits': { encoding: 'f16', rows: 500, cols: 128, bits: 4 },
  'f32, ragged': { encoding: 'f32', rows: 333, cols: 100, bits: 5 },
  'bf16, ragged': { encoding: 'bf16', rows: 257, cols: 72, bits: 4 },
  q8_0: { encoding: 'q8_0', rows: 400, cols: 96, bits: 5 },
  q4_0: { encoding: 'q4_0', rows: 400, cols: 64, bits: 5 },
  q6_k: { encoding: 'q6_k', rows: 300, cols: 256, bits: 5 },
  'hostile f32': { encoding: 'f32', rows: 400, cols: 100, bits: 5, hostile: spoil },
  'hostile f16': { encoding: 'f16', rows: 320, cols: 64, bits: 4, hostile: spoil },
};

/** Equal rows, nearly equal ones, empty ones, and some that are hardly numbers. */
function spoil(values: Float32Array, cols: number): void {
  const row = (r: number) => values.subarray(r * cols, (r + 1) * cols);
  for (const r of [3, 17, 90, 200]) row(r).set(row(1));
  for (const r of [4, 18, 91, 201]) {
    row(r).set(row(1));
    row(r)[r % cols] *= 1 + 2 ** -9;
  }
  for (const r of [0, 50, 51, 52]) row(r).fill(0);
  const scale = (r: number, factor: number, count = cols) => {
    for (let i = 0; i < count; i++) row(r)[i] *= factor;
  };
  for (const r of [60, 61]) scale(r, 2 ** -14);
  scale(62, 10000);
  row(70)[5] = Number.NaN;
  row(71)[6] = Number.POSITIVE_INFINITY;
  row(72)[7] = Number.NEGATIVE_INFINITY;
  row(73).fill(60000);
  scale(74, 2 ** -130);
  row(75).fill(2 ** -24);
  row(76).fill(0)[8] = 1;
  scale(77, 1000, 32);
}

const bytesOf = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** A value that an encoder refuses is written by hand: the encodings that have it hold one number after the other. */
function encode({ encoding }: Table, values: Float32Array): Uint8Array {
  const finite = values.map((value) => (Number.isFinite(value) && Math.abs(value) < 65504 ? value : 0));
  const bytes = FLOAT[encoding].encode(finite);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const half = (value: number) => (Number.isNaN(value) ? 0x7e00 : value > 0 ? 0x7c00 : 0xfc00);
  values.forEach((value, i) => {
    if (value === finite[i]) return;
    if (encoding === 'f32') view.setFloat32(4 * i, value, true);
    else view.setUint16(2 * i, half(value), true);
  });
  return bytes;
}

/** A table with its values as the decoder yields them, and its coarse copy. */
function made(table: Table) {
  const { encoding, rows, cols, bits, hostile } = table;
  const random = new Random(rows * cols);
  const wanted = Float32Array.from({ length: rows * cols }, () => 0.05 * random.normal());
  hostile?.(wanted, cols);
  const bytes = encode(table, wanted);
  const values = new Float32Array(rows * cols);
  FLOAT[encoding].decode(bytes, values);
  return { bytes, values, coarse: coarseCopy(values, rows, cols, bits) };
}

/** The values that a coarse copy stands for, from its drawing: with four bits, and with five where it has them. */
function decoded({ rows, cols, bits }: Table, coarse: Uint8Array) {
  const { factors, steps, groupBytes, recordFactors, recordSteps, recordBytes } = screenLayout(cols);
  const view = new DataView(coarse.buffer);
  return Array.from({ length: rows }, (_, row) => {
    const stretch = Math.floor(row / 256);
    const start = stretch * (16 * groupBytes + (bits === 5 ? 256 * recordBytes : 0));
    const group = start + Math.floor((row % 256) / 16) * groupBytes;
    const records = start + Math.ceil(Math.min(256, rows - 256 * stretch) / 16) * groupBytes;
    const [r, record] = [row % 16, records + (row % 256) * recordBytes];
    const step = view.getFloat32(group + steps + 4 * r, true);
    if (bits === 5) assert.is(view.getFloat32(record + recordSteps, true), step);
    const values = Array.from({ length: cols }, (_, column) => {
      const [block, c] = [Math.floor(column / 32), column % 32];
      const byte = coarse[group + block * 256 + 64 * Math.floor(c / 8) + 4 * r + (c % 4)]!;
      const n = c % 8 < 4 ? byte & 15 : byte >> 4;
      const factor = coarse[group + factors + 16 * block + r]!;
      const four = factor * step * (n - 7.5);
      if (bits === 4) return { four, five: four };
      assert.is(coarse[record + recordFactors + block], factor);
      const bit = (view.getUint32(record + 4 * block, true) >>> c) & 1;
      return { four, five: (factor * step * (2 * n + bit - 15.5)) / 2 };
    });
    return {
      four: values.map(({ four }) => four),
      five: values.map(({ five }) => five),
      radius: view.getFloat32(group + steps + 64 + 4 * r, true),
      gain: bits === 5 ? view.getFloat32(record + recordSteps + 4, true) : 0,
      change: bits === 5 ? view.getFloat32(record + recordSteps + 8, true) : 0,
    };
  });
}

const norm = (values: readonly number[]) => Math.hypot(...values);

const screens = suite('screened head');

for (const [name, table] of Object.entries(TABLES)) {
  screens(`${name}: the radii of the coarse copy reach the values, and not much farther`, () => {
    const { values, coarse } = made(table);
    decoded(table, coarse).forEach(({ four, five, radius, gain, change }, row) => {
      const actual = [...values.subarray(row * table.cols, (row + 1) * table.cols)];
      if (radius === Number.POSITIVE_INFINITY) {
        const most = Math.max(...actual.map(Math.abs));
        assert.not.ok(most >= 2 ** -40 && most <= 2 ** 40, `row ${row} could have a radius`);
        return;
      }
      const error4 = norm(actual.map((value, i) => value - four[i]!));
      const error5 = norm(actual.map((value, i) => value - five[i]!));
      const room = 0.01 * (norm(actual) + error4);
      assert.ok(radius >= error4 && radius <= error4 + room, `row ${row}: ${radius} for ${error4}`);
      assert.ok(
        radius - gain >= error5 && radius - gain <= error5 + room,
        `row ${row}: ${radius} - ${gain}, ${error5}`,
      );
      assert.ok(change >= norm(five.map((value, i) => value - four[i]!)), `row ${row}: ${change}`);
    });
  });
}

async function build({ target, compiler, flags: own }: ProgramBed, folder: string, table: Table): Promise<string> {
  const { encoding, rows, cols, bits } = table;
  const root = packageRoot();
  const bytes = rows * (cols / FLOAT[encoding].blockValues) * FLOAT[encoding].blockBytes;
  const head = { name: 'head', kind: 'rows', tensor: '', encoding, rows, cols, offset: 0, bytes } as const;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'tables.h'), render('tables.h', { screened: true }));
  writeFileSync(join(folder, 'head.cpp'), render('head.cpp', tableView(head, target)));
  writeFileSync(join(folder, 'screen.cpp'), render('screen.cpp', screenView({ rows, cols, bits }, head, target)));
  const main = join(folder, 'main.cpp');
  copyFileSync(join(root, 'test', 'conformance', 'screen.cpp'), main);
  const includes = [folder, join(root, 'targets', target.id), join(root, 'templates', 'cpp'), join(root, 'artifact')];
  const program = join(folder, 'screen');
  const defined = [
    `COLUMNS=${cols}`,
    `COARSE_BYTES=${screenBytes(rows, cols, bits)}`,
    ...(bits === 5 ? ['FIFTH'] : []),
  ];
  const flags = ['-std=c++20', '-O1', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off', ...target.flags, ...own];
  const sources = [main, join(folder, 'head.cpp'), '-o', program];
  const options = [...flags, ...includes.map((path) => `-I${path}`), ...defined.map((name) => `-D${name}`)];
  await execFile(compiler.command, [...options, ...sources]);
  return program;
}

/** Hidden states that a bound must reach far for: rows of the table, and what the coarse copy leaves out of them. */
function worst(table: Table): Float32Array[] {
  const { values, coarse } = made(table);
  const { cols } = table;
  return decoded(table, coarse)
    .slice(0, 64)
    .flatMap(({ four, five }, row) => {
      const actual = values.subarray(row * cols, (row + 1) * cols);
      const left = (copy: readonly number[]) => actual.map((value, i) => value - copy[i]!);
      return [actual, left(four), left(five).map((value) => -value)];
    });
}

/** Positions of each table, where a target is fast enough for many. */
const POSITIONS: Readonly<Record<string, number>> = { 'x86-avx512vnni': 8000, 'x86-avx2': 8000 };
/** Tried on every target; the others on this machine's best. */
const FEW = ['f32, ragged', 'hostile f16'];

const { beds, absent } = await testBeds();
const { programs, absent: without } = programBeds(beds);
const folder = temporaryFolder('screen');
for (const bed of programs) {
  for (const [name, table] of Object.entries(TABLES)) {
    if (bed.target !== nativeTarget() && !FEW.includes(name)) continue;
    screens(`${bed.label}: ${name}`, async () => {
      const program = await build(bed, join(folder, `${bed.label}-${name}`.replace(/\W+/g, '-')), table);
      const given = worst(table);
      const positions = POSITIONS[bed.target.id] ?? 200;
      const { bytes, coarse } = made(table);
      const input = Buffer.concat([
        bytesOf(Int32Array.of(positions, given.length, 7)),
        bytes,
        coarse,
        ...given.map((hidden) => bytesOf(hidden)),
      ]);
      const { code, stdout, stderr } = await runOn(bed, program, [], input);
      assert.is(code, 0, stderr);
      const { rows, whole, ...tally } = JSON.parse(stdout.toString());
      assert.equal(tally, { positions: positions + given.length, wrong: 0, loose: 0, uneven: 0, apart: 0 });
      // Most are screened, or there is nothing to see.
      assert.ok(whole < 0.5 * tally.positions, `${whole} of ${tally.positions} read the whole head`);
      // Hostile rows have bounds that say little, or none: with them, all that counts is that nothing is wrong.
      if (table.hostile) return;
      assert.ok(rows < 0.7 * (tally.positions - whole) * table.rows, `${rows} rows of ${tally.positions} positions`);
    });
  }
}
for (const { target, reason } of [...absent, ...without]) skip(screens, target.id, reason);

screens.run();
