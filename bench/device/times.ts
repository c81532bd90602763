// The speed of target cuda: whole models as `bitnet bench` has them, and each kernel of a step.
import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { number } from '../../cli/format.ts';
import { compile } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { measureModel } from '../model/measure.ts';
import { rowName } from '../report/result.ts';
import { synthesize } from '../shapes/index.ts';
import { shapeByName } from '../shapes/shapes.ts';
import { fill } from './failures.ts';
import type { HeadEncoding } from './models.ts';

export interface TimesOptions {
  readonly shape: string;
  readonly heads: readonly HeadEncoding[];
  readonly promptTokens: readonly number[];
  readonly sequences: readonly number[];
  readonly contexts: readonly number[];
  readonly newTokens: number;
  readonly repetitions: number;
}

/**
 * What a step is made of: kernels by name, each timed alone; `step` is all of it as it runs, `ternary` its ternary products
 * alone, one after the other.
 */
const PROFILED = [
  { tokens: 1, position: 128, sequences: 1 },
  { tokens: 1, position: 2048, sequences: 1 },
  { tokens: 1, position: 128, sequences: 8 },
  { tokens: 1, position: 128, sequences: 64 },
  { tokens: 2048, position: 0, sequences: 1 },
] as const;

async function profile(path: string, out: string) {
  const { artifact, manifest } = await compile(path, { target: 'cuda', out });
  const { library, layout } = manifest.targets.cuda!;
  const files = [join(artifact, library), join(artifact, manifest.weights[layout]!.file)];
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  return PROFILED.map((step) => {
    const options = Object.entries(step).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const lines = execFileSync(runner, ['profile', ...files, ...options], { encoding: 'utf8' })
      .trim()
      .split('\n');
    const kernels = lines.map((line): Kernel => JSON.parse(line));
    console.log(`  ${JSON.stringify(step)}`);
    for (const { kernel, launches, microseconds } of kernels) {
      console.log(`    ${kernel.padEnd(30)} ${String(launches).padStart(4)} × ${number(microseconds / launches)} µs`);
    }
    return { ...step, kernels };
  });
}

interface Kernel {
  readonly kernel: string;
  readonly launches: number;
  readonly microseconds: number;
}

/** Makes random models of the shape in `folder`, times them, and fills the GPU with the last of them. */
export async function times(folder: string, { shape, heads, ...options }: TimesOptions) {
  const out = join(folder, 'generated');
  const reports: Record<string, object> = {};
  for (const headEncoding of heads) {
    const path = join(folder, `${shape}-${headEncoding}.gguf`);
    await synthesize(shapeByName(shape), path, { headEncoding });
    const report = await measureModel(path, { ...options, target: 'cuda', out });
    const kernels = await profile(path, out);
    console.log(`${shape}, head ${headEncoding}:`);
    for (const row of report.rows) {
      const share = `${Math.round(100 * row.share.median)}% of ${row.bound}`;
      console.log(`${rowName(row).padEnd(40)} ${number(row.tokensPerSecond.median).padStart(8)} tokens/s, ${share}`);
    }
    const { artifact } = await compile(path, { target: 'cuda', out });
    const filled = headEncoding === heads.at(-1) ? { filled: await fill(artifact) } : {};
    reports[headEncoding] = { ...report, kernels, ...filled };
    await rm(path);
  }
  return reports;
}
