import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Manifest } from '../../artifact/manifest.ts';
import { compile, type LowerOptions } from '../../compiler/index.ts';
import type { Bed } from './beds.ts';
import { runner } from './runner.ts';

/** A model compiled for a bed's target. */
export interface Compiled {
  readonly bed: Bed;
  readonly library: string;
  readonly weights: string;
  readonly manifest: Manifest;
}

export async function compileFor(bed: Bed, model: string, out: string, options: LowerOptions = {}): Promise<Compiled> {
  const { artifact, manifest } = await compile(model, { ...options, target: bed.target.id, out });
  const entry = manifest.targets[bed.target.id];
  return {
    bed,
    manifest,
    library: join(artifact, entry.library),
    weights: join(artifact, manifest.weights[entry.layout].file),
  };
}

export interface LogitsOptions {
  readonly threads?: number;
  /** Tokens in a step; as many as it takes where it is left out. */
  readonly chunk?: number;
  /** A file for the hidden states, too: float32, [tokens][embedding]. */
  readonly hidden?: string;
}

/** Logits after each token, [tokens][vocab], with a float32 KV cache. `file` is for the answer to pass through. */
export async function logitsOf(
  { bed, library, weights, manifest }: Compiled,
  tokens: readonly number[],
  file: string,
  { threads = 1, chunk, hidden }: LogitsOptions = {},
): Promise<Float32Array[]> {
  const options = ['--tokens', tokens.join(), '--kv', 'f32', '--threads', String(threads), '--out', file];
  if (chunk) options.push('--chunk', String(chunk));
  if (hidden) options.push('--hidden', hidden);
  const { code, stderr } = await runner(bed, 'logits', library, weights, ...options);
  assert.is(code, 0, stderr);
  const all = new Float32Array(new Uint8Array(readFileSync(file)).buffer);
  const { vocab } = manifest.model;
  return tokens.map((_, i) => all.subarray(i * vocab, (i + 1) * vocab));
}

/** |a - b| / |b| */
export function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [distance, length] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    distance += (a[i] - b[i]) ** 2;
    length += b[i] ** 2;
  }
  return Math.sqrt(distance / length);
}

/** A median of 1e-4 or less and no position above 3e-2: one int8 rounded the other way here and there, no more. */
export function assertLogits(actual: readonly ArrayLike<number>[], expected: readonly ArrayLike<number>[]): void {
  const errors = expected.map((row, i) => relativeError(actual[i], row));
  const median = errors.toSorted((a, b) => a - b)[errors.length >> 1];
  const shown = errors.map((error) => error.toExponential(1)).join(' ');
  assert.ok(median <= 1e-4, `the median of ${shown} is too large`);
  assert.ok(
    errors.every((error) => error <= 3e-2),
    `one of ${shown} is too large`,
  );
}

/** Runs a model's self-test: every kernel must give the checksum that the manifest has of it. */
export async function assertSelfTest({ bed, library, weights, manifest }: Compiled): Promise<void> {
  const { stdout, stderr } = await runner(bed, 'selftest', library, weights);
  assert.is(stderr, '');
  const lines = stdout.toString().trim().split('\n');
  const expected = manifest.targets[bed.target.id].kernels.map(({ name, checksum }) => ({ name, checksum }));
  assert.equal(
    lines.map((line) => JSON.parse(line)),
    expected,
  );
}
