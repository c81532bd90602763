import { readFileSync, writeFileSync } from 'node:fs';
import type { Random } from '../../bench/shapes/random.ts';
import { referenceSums } from '../../compiler/kernels/bitlinear-i2.ts';
import { layoutOf } from '../../compiler/kernels/index.ts';
import type { KernelSpec } from '../../compiler/kernels/spec.ts';
import type { Bed, Outcome } from './beds.ts';
import { runner } from './runner.ts';

/** One call of a ternary kernel: all that goes in. */
export interface KernelCase {
  readonly tokens: number;
  readonly accumulate: boolean;
  /** Row groups to compute, the last one excluded. */
  readonly groups: readonly [number, number];
  /** [m][k], 0, 1 or 2. */
  readonly codes: Uint8Array;
  /** [m / 16] */
  readonly groupScales: Float32Array;
  /** [tokens][k] */
  readonly q: Int8Array;
  /** [tokens] */
  readonly inverseScales: Float32Array;
  /** [tokens][m], what y holds before. */
  readonly y: Float32Array;
}

const pad16 = (n: number): number => Math.ceil(n / 16) * 16;

const bytesOf = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** Random codes and activations for all rows; scales of 1, so that y is the integer sum itself. */
export function randomCase({ m, k }: KernelSpec, tokens: number, random: Random): KernelCase {
  return {
    tokens,
    accumulate: false,
    groups: [0, m / 16],
    codes: Uint8Array.from({ length: m * k }, () => random.integer(3)),
    groupScales: new Float32Array(m / 16).fill(1),
    q: Int8Array.from({ length: tokens * k }, () => random.integer(256) - 128),
    inverseScales: new Float32Array(tokens).fill(1),
    y: Float32Array.from({ length: tokens * m }, () => random.integer(1000)),
  };
}

/** The runner's input file of a case. */
function encode({ m, k }: KernelSpec, layout: string, one: KernelCase): Uint8Array {
  const columns = pad16(k);
  const q = new Int8Array(one.tokens * columns);
  const quant = new DataView(new ArrayBuffer(8 * one.tokens));
  for (let token = 0; token < one.tokens; token++) {
    const row = one.q.subarray(token * k, (token + 1) * k);
    q.set(row, token * columns);
    quant.setFloat32(8 * token, one.inverseScales[token], true);
    quant.setInt32(
      8 * token + 4,
      row.reduce((a, b) => a + b, 0),
      true,
    );
  }
  const header = Int32Array.of(one.tokens, Number(one.accumulate), ...one.groups, m, columns);
  const parts = [header, layoutOf(layout).pack(one.codes, m, k), one.groupScales, q, quant, one.y];
  return Buffer.concat(parts.map(bytesOf));
}

/** What y must hold afterwards: integer sums by the plain reference, scaled in float32 as abi.h says. */
export function expectedY({ m, k }: KernelSpec, one: KernelCase): Float32Array {
  const y = one.y.slice();
  for (let token = 0; token < one.tokens; token++) {
    const sums = referenceSums(one.codes, m, k, one.q.subarray(token * k, (token + 1) * k));
    for (let row = one.groups[0] * 16; row < one.groups[1] * 16; row++) {
      const scale = Math.fround(one.groupScales[row >> 4] * one.inverseScales[token]);
      const value = Math.fround(sums[row] * scale);
      const at = token * m + row;
      y[at] = one.accumulate ? y[at] + value : value;
    }
  }
  return y;
}

/** Runs a case between guard pages; y afterwards, or what the runner complained about. */
export async function runCase(
  bed: Bed,
  library: string,
  spec: KernelSpec,
  layout: string,
  one: KernelCase,
  scratchFile: string,
): Promise<{ outcome: Outcome; y: Float32Array }> {
  writeFileSync(`${scratchFile}.in`, encode(spec, layout, one));
  const outcome = await runner(bed, 'kernel', library, spec.name, `${scratchFile}.in`, `${scratchFile}.out`);
  if (outcome.code !== 0) return { outcome, y: new Float32Array(0) };
  const bytes = readFileSync(`${scratchFile}.out`);
  return { outcome, y: new Float32Array(new Uint8Array(bytes).buffer) };
}
