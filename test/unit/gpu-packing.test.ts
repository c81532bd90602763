import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { writeWeights } from '../../compiler/build/weights.ts';
import { FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import type { PackedTensor } from '../../compiler/ir/plan.ts';
import { gpuKernels, t16, wgmmaTokens } from '../../compiler/kernels/bitlinear-t16.ts';
import { headTiles, tiledBytes } from '../../compiler/kernels/head-tiles.ts';
import { packedBytes } from '../../compiler/kernels/layout.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { packageRoot } from '../../package-root.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';

/** A code, found the way that templates/cuda/gemm.cuh draws it: lane, word, byte, bits. */
function codeAt(packed: Uint8Array, cols: number, row: number, column: number): number {
  const tile = Math.floor(row / 16) * Math.ceil(cols / 128) + Math.floor(column / 128);
  const k = column % 128;
  const lane = 4 * (row % 8) + (Math.floor(k / 4) % 4);
  const word = (row % 16 >= 8 ? 1 : 0) + (k % 32 >= 16 ? 2 : 0);
  const bits = new DataView(packed.buffer, packed.byteOffset).getUint32(tile * 512 + lane * 16 + word * 4, true);
  return (bits >>> (8 * (k % 4) + 2 * Math.floor(k / 32))) & 3;
}

test('ternary tiles hold every code where the kernels look for it, and weight 0 beyond', () => {
  const random = new Random(7);
  for (const [rows, cols] of [
    [16, 128],
    [40, 300],
    [7, 90],
  ] as const) {
    const codes = Uint8Array.from({ length: rows * cols }, () => Math.floor(3 * random.uniform()));
    const packed = t16.pack(codes, rows, cols);
    assert.is(packed.length, packedBytes(t16, rows, cols));
    for (let row = 0; row < Math.ceil(rows / 16) * 16; row++) {
      for (let column = 0; column < Math.ceil(cols / 128) * 128; column++) {
        const expected = row < rows && column < cols ? codes[row * cols + column] : 1;
        assert.is(codeAt(packed, cols, row, column), expected, `row ${row}, column ${column}`);
      }
    }
    const group = packed.subarray(0, packedBytes(t16, 16, cols));
    const whole = new Uint8Array(16 * cols).fill(1);
    whole.set(codes.subarray(0, 16 * cols));
    assert.equal(t16.unpackGroup(group, cols, 0), whole);
  }
});

/** A head's value, found the way that templates/cuda/head.cuh draws it. */
const VALUE: Partial<
  Record<FloatEncodingName, (packed: DataView, cols: number, row: number, column: number) => number>
> = {
  f16(packed, cols, row, column) {
    const group = (Math.floor(row / 16) * (cols / 128) + Math.floor(column / 128)) * 4096;
    const [r, k] = [row % 16, column % 128];
    const word = (r >= 8 ? 1 : 0) + (k % 16 >= 8 ? 2 : 0);
    const lane = 4 * (r % 8) + (Math.floor(k / 2) % 4);
    return half(packed, group + Math.floor(k / 16) * 512 + lane * 16 + word * 4 + 2 * (k % 2));
  },
  q8_0(packed, cols, row, column) {
    const group = (Math.floor(row / 16) * (cols / 128) + Math.floor(column / 128)) * 2176;
    const [r, k] = [row % 16, column % 128];
    const word = (r >= 8 ? 1 : 0) + (k % 32 >= 16 ? 2 : 0);
    const lane = 4 * (r % 8) + (Math.floor(k / 4) % 4);
    const tile = Math.floor(k / 32);
    const scale = half(packed, group + 2048 + 2 * (16 * tile + r));
    return packed.getInt8(group + tile * 512 + lane * 16 + word * 4 + (k % 4)) * scale;
  },
  q6_k(packed, cols, row, column) {
    const group = (Math.floor(row / 16) * (cols / 128) + Math.floor(column / 128)) * 1696;
    const [r, k] = [row % 16, column % 128];
    const [high, right, tile] = [r >= 8 ? 1 : 0, k % 32 >= 16 ? 1 : 0, Math.floor(k / 32)];
    const lane = 4 * (r % 8) + (Math.floor(k / 4) % 4);
    const low = packed.getUint8(group + (tile >> 1) * 512 + lane * 16 + 4 * (2 * (tile % 2) + right) + (k % 4));
    const upper = packed.getUint8(group + 1024 + lane * 16 + 4 * tile + (k % 4));
    const code = ((low >> (4 * high)) & 15) | (((upper >> (2 * (high + 2 * right))) & 3) << 4);
    const scale = packed.getInt8(group + 1536 + 16 * Math.floor(k / 16) + r);
    return (code - 32) * half(packed, group + 1664 + 2 * r) * scale;
  },
};

function half(bytes: DataView, at: number): number {
  const bits = bytes.getUint16(at, true);
  const [sign, exponent, fraction] = [bits >> 15, (bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return sign ? -size : size;
}

for (const [encoding, value] of Object.entries(VALUE)) {
  test(`tiles of a ${encoding} head hold every value where the kernels look for it`, () => {
    const { encode, decode } = FLOAT[encoding as FloatEncodingName];
    const [rows, cols] = [16, 512];
    const random = new Random(3);
    const values = Float32Array.from({ length: rows * cols }, () => random.uniform() - 0.5);
    const bytes = encode(values);
    const stored = new Float32Array(values.length);
    decode(bytes, stored);
    const tiles = headTiles(encoding as FloatEncodingName, cols)!;
    const packed = tiles.pack(bytes, cols);
    assert.is(packed.length, tiledBytes(tiles, rows, cols));
    const view = new DataView(packed.buffer, packed.byteOffset);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < cols; column++) {
        const expected = stored[row * cols + column]!;
        assert.ok(
          Math.abs(value(view, cols, row, column) - expected) <= 1e-6 * Math.abs(expected),
          `${row}, ${column}`,
        );
      }
    }
  });
}

test('other tables, and rows that are no whole tiles, are kept as they are', () => {
  assert.is(headTiles('bf16', 256), undefined);
  assert.is(headTiles('f16', 100), undefined);
});

test('gate and up are woven by eights, with a scale for each half of a row block', async () => {
  const ir = await importModel(join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf'));
  const plan = planForGpu(ir);
  const folder = mkdtempSync(join(tmpdir(), 'bitnet-test-'));
  try {
    const file = join(folder, 'weights.bin');
    await writeWeights(ir, plan, file);
    const bytes = readFileSync(file);
    assert.is(bytes.length, plan.weights.bytes);
    const find = (name: string) => plan.weights.layer.find((tensor) => tensor.name === name)!;
    const codes = find('gate_up') as Extract<PackedTensor, { kind: 'codes' }>;
    assert.ok(codes.woven);
    const base = plan.weights.layerBase + plan.weights.layerBytes; // the second layer's
    const packed = bytes.subarray(base + codes.offset, base + codes.offset + codes.bytes);
    const scales = new DataView(bytes.buffer, bytes.byteOffset + base + find('gate_up_scales').offset);
    await using source = await ModelSource.open(ir);
    for (const [part, name] of ['ffn_gate', 'ffn_up'].entries()) {
      const { codes: own, scale } = await source.ternary(
        `blk.1.${name}.weight`,
        new Uint8Array(ir.hyper.ffn * codes.cols),
      );
      for (let row = 0; row < ir.hyper.ffn; row++) {
        const woven = Math.floor(row / 8) * 16 + 8 * part + (row % 8);
        assert.is(scales.getFloat32(4 * Math.floor(woven / 8), true), Math.fround(scale));
        for (let column = 0; column < codes.cols; column++) {
          assert.is(
            codeAt(packed, codes.cols, woven, column),
            own[row * codes.cols + column],
            `${name} ${row} ${column}`,
          );
        }
      }
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('a plan for GPUs refuses kernels of CPUs, and matrices whose sums could overflow', async () => {
  const asked = await refusal(() => planForGpu(sketch(), { kernel: 'tl1' }));
  assert.match(asked.message, /tl1 is for CPUs/);
  assert.is(gpuKernels(16, 131056).one.k, 131056);
  const wide = await refusal(() => gpuKernels(16, 131072));
  assert.match(wide.message, /overflow/);
});

test('wgmma tiles take 256 tokens where that fills the machine as well', () => {
  assert.is(wgmmaTokens(3840), 256);
  assert.is(wgmmaTokens(13824), 256);
  assert.is(wgmmaTokens(2560), 128);
});

test.run();
