import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WEBGL_VERSION, type WebGlProgram } from '../../artifact/webgl.ts';
import { compile, type LowerOptions } from '../../compiler/index.ts';
import { readProgram } from '../../runtime/src/portable/program.ts';
import { WebGlExecutor } from '../../runtime/src/webgl/executor.ts';
import { Matrices } from '../../runtime/src/webgl/matrices.ts';
import { selfTest } from '../../runtime/src/webgl/self-test.ts';

/** A model compiled for WebGL, whose kernels the CPU runs by way of the same library. They have tested themselves. */
export async function webGlOnCpu(
  model: string,
  out: string,
  kv: 'f16' | 'f32',
  options: LowerOptions = {},
): Promise<WebGlExecutor> {
  const { artifact, manifest } = await compile(model, { ...options, target: 'webgl', out });
  const { key, kernels, layout, library } = manifest.targets.webgl;
  const { file, bytes } = manifest.weights[layout];
  const program = readProgram<WebGlProgram>(readFileSync(join(artifact, library), 'utf8'), WEBGL_VERSION, key);
  const { context } = manifest.model;
  const executor = new WebGlExecutor(program, { key, kernels, kv, context, sequences: 2, weightsBytes: bytes });
  executor.weights.set(readFileSync(join(artifact, file)));
  executor.give((weights) => new Matrices(program, weights, 'cpu'));
  selfTest(executor, kernels);
  return executor;
}

/** Logits of a model on WebGL, with a float32 KV cache, in steps that are no whole number of anything. */
export async function webGlLogits(
  model: string,
  out: string,
  tokens: readonly number[],
  options: LowerOptions = {},
): Promise<Float32Array[]> {
  return logitsOnCpu(await webGlOnCpu(model, out, 'f32', options), tokens, 7);
}

/** Logits after each token, [tokens][vocab], in steps of at most so many tokens. */
export function logitsOnCpu(executor: WebGlExecutor, tokens: readonly number[], chunk: number): Float32Array[] {
  const rows: Float32Array[] = [];
  for (let first = 0; first < tokens.length; first += chunk) {
    const batch = tokens.slice(first, first + chunk).map((id, i) => {
      return { id, position: first + i, sequence: 1, logitsRow: i, hiddenRow: -1 };
    });
    const { logits } = executor.step(batch);
    batch.forEach((_, i) => {
      rows.push(logits.slice(i * executor.vocab, (i + 1) * executor.vocab));
    });
  }
  return rows;
}
