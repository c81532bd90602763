import childProcess from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { encodedBytes, FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { referenceSums } from '../../compiler/kernels/bitlinear-i2.ts';
import { LAYOUTS } from '../../compiler/kernels/index.ts';
import { render } from '../../compiler/render/environment.ts';
import { tableView } from '../../compiler/render/views.ts';
import { packageRoot } from '../../package-root.ts';
import type { Target } from '../../targets/index.ts';
import { type ProgramBed, programBeds, runOn, skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';

const execFile = promisify(childProcess.execFile);

/** Rows of a table in each encoding of the registry: whole blocks, and where the encoding has it a ragged end. */
const TABLES = (Object.keys(FLOAT) as FloatEncodingName[]).flatMap((encoding) => {
  const { blockValues } = FLOAT[encoding];
  const even = { encoding, cols: Math.max(64, 2 * blockValues) };
  return [even, ...(blockValues === 1 ? [{ encoding, cols: 100 }] : [])];
});
const tableName = ({ encoding, cols }: { encoding: string; cols: number }) => `decode_${encoding}_${cols}`;

const ROW = 64;
/** Weights that are looked up; those of i2 are multiplied, which the kernels' own tests see. */
const TABLE_LAYOUTS = { tl1: LAYOUTS.tl1, tl2: LAYOUTS.tl2 };

function decodersHeader(target: Target): string {
  const spaces = TABLES.map(({ encoding, cols }) => {
    const tensor = {
      name: 'embedding',
      kind: 'rows',
      tensor: '',
      encoding,
      rows: 3,
      cols,
      offset: 0,
      bytes: 0,
    } as const;
    return `namespace ${tableName({ encoding, cols })} {\n${render('embedding.cpp', tableView(tensor, target))}}\n`;
  });
  const entries = TABLES.map((table) => {
    const name = tableName(table);
    const padded = Math.ceil(table.cols / 16) * 16;
    return `    {"${name}", ${padded}, ${encodedBytes(table.encoding, [table.cols])}, ${name}::bn_embed},`;
  });
  return `#include "tables.h"

${spaces.join('\n')}
struct Decoder {
  const char *name;
  size_t padded, row_bytes;
  void (*embed)(float *x, const uint8_t *table, int32_t id);
};

const Decoder kDecoders[] = {
${entries.join('\n')}
};
`;
}

async function build({ target, compiler, flags: own }: ProgramBed, folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const root = packageRoot();
  writeFileSync(join(folder, 'decoders.h'), decodersHeader(target));
  writeFileSync(join(folder, 'tables.h'), render('tables.h', { screened: false }));
  copyFileSync(join(root, 'test', 'conformance', 'primitives.cpp'), join(folder, 'primitives.cpp'));
  const includes = [folder, join(root, 'targets', target.id), join(root, 'templates', 'cpp'), join(root, 'artifact')];
  const program = join(folder, 'primitives');
  const flags = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror', '-ffp-contract=off', ...target.flags, ...own];
  const source = join(folder, 'primitives.cpp');
  await execFile(compiler.command, [...flags, ...includes.map((path) => `-I${path}`), source, '-o', program]);
  return program;
}

const { beds, absent } = await testBeds();
const { programs, absent: without } = programBeds(beds);
const primitives = suite('primitives');
const folder = temporaryFolder('primitives');

const bytesOf = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const copied = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;

/** The float32 that is `steps` after a positive one. */
function after(value: number, steps: number): number {
  const bits = new Int32Array(Float32Array.of(value).buffer);
  bits[0] += steps;
  return new Float32Array(bits.buffer)[0];
}

function halfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** a * b + c rounded to float32 once. In units of 2^-298 all three terms are whole numbers. */
function fusedValue(a: number, b: number, c: number): number {
  if (![a, b, c].every(Number.isFinite)) return a * b + c;
  const units = (value: number) => BigInt(value * 2 ** 149);
  const exact = units(a) * units(b) + units(c) * 2n ** 149n;
  if (exact === 0n) return a * b + c;
  const magnitude = exact < 0n ? -exact : exact;
  // As many bits as a float has there, the rest rounded to even.
  const drop = BigInt(Math.max(magnitude.toString(2).length - 24, 149));
  let kept = magnitude >> drop;
  const rest = magnitude - (kept << drop);
  const half = 1n << (drop - 1n);
  if (rest > half || (rest === half && kept % 2n === 1n)) kept++;
  const value = Number(kept) * 2 ** (Number(drop) - 149) * 2 ** -149;
  return Math.fround(exact < 0n ? -value : value);
}

/** The value of a float16, from its definition. */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

const everyHalf = Uint16Array.from({ length: 65536 }, (_, i) => i);
const normals = (count: number, deviation = 1) => {
  const random = new Random(count);
  return Float32Array.from({ length: count }, () => deviation * random.normal());
};

function assertClose(actual: Float32Array, expected: (i: number) => number, relative: number): void {
  const bad = actual.findIndex(
    (value, i) => !(Math.abs(value - expected(i)) <= relative * Math.abs(expected(i)) + 1e-30),
  );
  assert.is(bad, -1, `value ${bad} is ${actual[bad]}, not ${expected(bad)}`);
}

function registerFor(bed: ProgramBed): void {
  const { lanes } = bed.target;
  const id = bed.label;
  let building: Promise<string> | undefined;
  const apply = async (name: string, input: ArrayBufferView): Promise<ArrayBuffer> => {
    building ??= build(bed, join(folder, id.replace(/\W+/g, '-')));
    const { code, stdout, stderr } = await runOn(bed, await building, [name], bytesOf(input));
    assert.is(code, 0, stderr);
    return copied(stdout);
  };
  const floats = async (name: string, input: ArrayBufferView) => new Float32Array(await apply(name, input));

  primitives(`${id}: bn_exp is within 2 units in the last place`, async () => {
    const x = Float32Array.from({ length: 175_104 }, (_, i) => -87.2 + i / 1000);
    const y = await floats('exp', x);
    let worst = 0;
    y.forEach((value, i) => {
      const error = Math.abs(value - Math.exp(x[i]));
      worst = Math.max(worst, error / (after(Math.exp(x[i]), 1) - Math.fround(Math.exp(x[i]))));
    });
    assert.ok(worst <= 2, `${worst} units`);
  });

  primitives(`${id}: bn_exp is next to nothing far below zero, and finite far above`, async () => {
    const x = new Float32Array(16).fill(-1e30);
    x.set([Number.NEGATIVE_INFINITY, -88, -1000, 1000, 88, 3e38], 0);
    const y = await floats('exp', x);
    for (const i of [0, 1, 2, 6, 15]) assert.ok(y[i] >= 0 && y[i] < 1.3e-38, `e^${x[i]} is ${y[i]}`);
    for (const i of [3, 4, 5]) assert.ok(y[i] > 1e38 && Number.isFinite(y[i]), `e^${x[i]} is ${y[i]}`);
  });

  primitives(`${id}: bn_fma rounds once`, async () => {
    const random = new Random(5);
    const pick = <T>(values: readonly T[]): T => values[random.integer(values.length)]!;
    // Short factors, whose products end half-way between two floats, and what tips the balance; all magnitudes, also subnormal.
    const factor = () => pick([1, -1]) * (1 + random.integer(4096) / 4096) * 2 ** pick([0, 1, -3, -60, -70, 60]);
    const addend = () =>
      pick([1, -1]) * pick([0, 1, 1 + 2 ** -23, 2 ** -12, 2 ** -30, 2 ** -100, 2 ** -126, 2 ** -149, 2 ** 24, 2 ** 70]);
    const rows = Array.from({ length: 512 }, () => [
      Array.from({ length: 16 }, factor),
      Array.from({ length: 16 }, factor),
      Array.from({ length: 16 }, addend),
    ]);
    rows.push(
      [Array(16).fill(3e38), Array(16).fill(2), Array(16).fill(-1)],
      [Array(16).fill(Infinity), Array(16).fill(0), Array(16).fill(1)],
    );
    const y = await floats('fma', Float32Array.from(rows.flat(2)));
    rows.forEach(([a, b, c], row) => {
      for (let i = 0; i < 16; i++) {
        const [x, z, w] = [a![i]!, b![i]!, c![i]!].map(Math.fround) as [number, number, number];
        const expected = fusedValue(x, z, w);
        assert.ok(Object.is(y[row * 16 + i], expected), `${x} * ${z} + ${w} is ${y[row * 16 + i]}, not ${expected}`);
      }
    });
  });

  primitives(`${id}: bn_round rounds halves to even`, async () => {
    const x = Float32Array.from({ length: 1600 }, (_, i) => (i - 800) / 4);
    assert.equal(
      [...(await floats('round', x))].map((v) => v + 0),
      [...x].map((v) => halfToEven(v) + 0),
    );
  });

  for (const name of ['load_f16', 'f16_value']) {
    primitives(`${id}: ${name} of every float16`, async () => {
      const y = await floats(name, everyHalf);
      const bad = everyHalf.findIndex((bits) => !Object.is(y[bits], halfValue(bits)));
      assert.is(bad, -1, `0x${bad.toString(16)} is ${y[bad]}, not ${halfValue(bad)}`);
    });
  }

  primitives(
    `${id}: bn_store_f16 gives back every float16, and rounds between them to nearest, ties to even`,
    async () => {
      const input: number[] = [];
      const expected: number[] = [];
      const expect = (value: number, bits: number) => {
        input.push(value, -value);
        expected.push(bits, bits | 0x8000);
      };
      for (let bits = 0; bits < 0x7c00; bits++) {
        const value = halfValue(bits);
        const next = bits === 0x7bff ? 65536 : halfValue(bits + 1);
        const middle = (value + next) / 2;
        expect(value, bits);
        expect(after(middle, -1), bits);
        expect(middle, bits & 1 ? bits + 1 : bits);
        expect(after(middle, 1), bits + 1);
      }
      for (const value of [65536, 1e30, Number.POSITIVE_INFINITY]) expect(value, 0x7c00);
      expect(1e-30, 0);
      while (input.length % 16 !== 0) expect(1, 0x3c00);
      const half = new Uint16Array(await apply('store_f16', Float32Array.from(input)));
      const bad = expected.findIndex((bits, i) => half[i] !== bits);
      assert.is(bad, -1, `${input[bad]} became 0x${half[bad]?.toString(16)}, not 0x${expected[bad]?.toString(16)}`);
      const nan = new Uint16Array(await apply('store_f16', new Float32Array(16).fill(Number.NaN)));
      for (const bits of nan) assert.ok((bits & 0x7fff) > 0x7c00);
    },
  );

  primitives(`${id}: bn_load_bf16 of every bfloat16`, async () => {
    const y = new Uint32Array(await apply('load_bf16', everyHalf));
    assert.is(
      y.findIndex((bits, i) => bits !== i * 65536),
      -1,
    );
  });

  primitives(`${id}: bn_load_i8 of every int8`, async () => {
    const x = Int8Array.from({ length: 256 }, (_, i) => i - 128);
    assert.equal([...(await floats('load_i8', x))], [...x]);
  });

  primitives(`${id}: bn_quantise rounds halves to even, clamps, and returns what it stores`, async () => {
    const x = Float32Array.from({ length: 1280 }, (_, i) => (i - 640) / 4);
    x.set([1e9, -1e9, 127.49999, 127.5, -128.5, -128.50002, 3e38, -3e38]);
    const out = new Int32Array(await apply('quantise', x));
    const q = out.subarray(out.length - x.length);
    const sums = out.subarray(0, out.length - x.length);
    assert.equal(
      [...q],
      [...x].map((v) => Math.min(127, Math.max(-128, halfToEven(v))) + 0),
    );
    assert.equal(
      [...sums],
      Array.from(sums, (_, i) => q.subarray(i * lanes, (i + 1) * lanes).reduce((a, b) => a + b, 0)),
    );
  });

  primitives(`${id}: bn_quantise_row scales the largest value to 127`, async () => {
    const x = normals(ROW * 200, 3);
    x.fill(0, 0, ROW);
    x.fill(1e-7, ROW, 2 * ROW);
    for (let i = 2 * ROW; i < 3 * ROW; i++) x[i] = (i % ROW) - 32;
    const bytes = await apply('quantise_row', x);
    for (let row = 0; row < x.length / ROW; row++) {
      const values = x.subarray(row * ROW, (row + 1) * ROW);
      const absmax = Math.max(Math.fround(1e-5), ...values.map(Math.abs));
      const scale = Math.fround(127 / absmax);
      const expected = Array.from(values, (v) => Math.min(127, Math.max(-128, halfToEven(Math.fround(v * scale)))) + 0);
      const q = new Int8Array(bytes, row * (ROW + 8), ROW);
      const quant = new DataView(bytes, row * (ROW + 8) + ROW, 8);
      assert.equal([...q], expected, `row ${row}`);
      assert.is(quant.getFloat32(0, true), Math.fround(absmax / 127));
      assert.is(
        quant.getInt32(4, true),
        expected.reduce((a, b) => a + b, 0),
      );
    }
  });

  for (const [name, layout] of Object.entries(TABLE_LAYOUTS)) {
    primitives(`${id}: what ${name} looks up is the sum of the products, and it unpacks to the codes`, async () => {
      const { columns } = layout;
      const random = new Random(columns);
      // Largest sums of either sign, extreme values of changing signs, and random ones.
      const extreme = () => (random.integer(2) === 0 ? -128 : 127);
      const blocks = Array.from({ length: 40 }, (_, block) => ({
        codes: Uint8Array.from({ length: 16 * columns }, () => (block < 2 ? 2 * block : random.integer(3))),
        q: Int8Array.from({ length: columns }, () =>
          block < 2 ? -128 : block < 10 ? extreme() : random.integer(256) - 128,
        ),
      }));
      const records = blocks.map(({ codes, q }) => Buffer.concat([bytesOf(q), layout.pack(codes, 16, columns)]));
      const out = new Int32Array(await apply(name, Buffer.concat(records)));
      const size = 16 + 16 * columns;
      assert.is(out.length, blocks.length * size);
      for (const [i, { codes, q }] of blocks.entries()) {
        const [sums, panel] = [out.subarray(i * size, i * size + 16), out.subarray(i * size + 16, (i + 1) * size)];
        assert.equal([...sums], [...referenceSums(codes, 16, columns, q)], `block ${i}`);
        for (let at = 0; at < panel.length; at++) {
          const [quad, row, c] = [at >> 6, (at >> 2) & 15, at & 3];
          assert.is(panel[at], codes[row * columns + 4 * quad + c], `block ${i}, row ${row}, column ${4 * quad + c}`);
        }
      }
    });
  }

  primitives(`${id}: sums and maxima over a vector`, async () => {
    const x = normals(1600);
    const [sums, maxima] = [await floats('reduce_add', x), await floats('reduce_max', x)];
    for (let i = 0; i < x.length; i += lanes) {
      const vector = [...x.subarray(i, i + lanes)];
      assert.ok(Math.abs(sums[i] - vector.reduce((a, b) => a + b, 0)) < 1e-5);
      assert.is(maxima[i], Math.max(...vector));
    }
  });

  primitives(`${id}: bn_rms_norm`, async () => {
    const x = normals(ROW * 20, 5);
    const mean = (i: number) => {
      const row = x.subarray(i - (i % ROW), i - (i % ROW) + ROW);
      return row.reduce((sum, v) => sum + v * v, 0) / ROW;
    };
    assertClose(await floats('rms_norm', x), (i) => ((x[i] / Math.sqrt(mean(i) + 0.5)) * (i % ROW)) / 8, 1e-6);
  });

  primitives(`${id}: the gates`, async () => {
    const x = normals(ROW * 20, 8);
    x.set([-200, -100, -87.5, 0, 87.5, 100, 200]);
    const up = (i: number) => (i % ROW) - 32;
    assertClose(await floats('relu2_gate', x), (i) => Math.max(x[i], 0) ** 2 * up(i), 2e-7);
    const silu = await floats('silu_gate', x);
    // e^-gate ends at e^88, where the result is nothing beside any other.
    assertClose(silu, (i) => (x[i] < -87 ? silu[i] : (x[i] / (1 + Math.exp(-x[i]))) * up(i)), 1e-6);
    for (const i of [0, 1, 2]) assert.ok(Math.abs(silu[i]) < 1e-30);
    const gelu = await floats('gelu_gate', x);
    const power = (g: number) => Math.exp(-2 * Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3));
    // Far below zero the power is large, and so is the error that it makes of its argument's.
    assertClose(gelu, (i) => (x[i] < -9 ? gelu[i] : (x[i] / (1 + power(x[i]))) * up(i)), 2e-5);
    x.forEach((g, i) => {
      const byTanh = 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3))) * up(i);
      assert.ok(Math.abs(gelu[i] - byTanh) <= 1e-6 * Math.max(1, Math.abs(byTanh)), `${g}: ${gelu[i]}, not ${byTanh}`);
    });
  });

  for (const table of TABLES) {
    const { encoding, cols } = table;
    primitives(`${id}: rows of ${cols} ${encoding} values decode as the compiler decodes them`, async () => {
      const rows = 64;
      const random = new Random(cols);
      const bytes = Uint8Array.from({ length: rows * encodedBytes(encoding, [cols]) }, () => random.integer(256));
      const expected = new Float32Array(rows * cols);
      FLOAT[encoding].decode(bytes, expected);
      const decoded = await floats(tableName(table), bytes);
      const padded = Math.ceil(cols / 16) * 16;
      for (let i = 0; i < decoded.length; i++) {
        const [row, column] = [Math.floor(i / padded), i % padded];
        const value = column < cols ? expected[row * cols + column] : 0;
        assert.ok(Object.is(decoded[i] + 0, value + 0), `row ${row}, column ${column} is ${decoded[i]}, not ${value}`);
      }
    });
  }
}

for (const bed of programs) registerFor(bed);
for (const { target, reason } of [...absent, ...without]) skip(primitives, `primitives of ${target.id}`, reason);

primitives.run();
