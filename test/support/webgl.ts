import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelEntry } from '../../artifact/manifest.ts';
import { WEBGL_VERSION, type WebGlProgram } from '../../artifact/webgl.ts';
import { compile, type LowerOptions } from '../../compiler/index.ts';
import { readProgram } from '../../runtime/src/portable/program.ts';
import { type Upload, WebGlExecutor } from '../../runtime/src/webgl/executor.ts';
import { Matrices } from '../../runtime/src/webgl/matrices.ts';
import { selfTest } from '../../runtime/src/webgl/self-test.ts';

/** A model compiled for WebGL, whose kernels the CPU runs by way of the same library. They have tested themselves. */
export async function webGlOnCpu(
  model: string,
  out: string,
  options: LowerOptions = {},
): Promise<{ executor: WebGlExecutor; upload: Upload; kernels: readonly KernelEntry[] }> {
  const { artifact, manifest } = await compile(model, { ...options, target: 'webgl', out });
  const { key, kernels, layout, library } = manifest.targets.webgl;
  const { file, bytes } = manifest.weights[layout];
  const program = readProgram<WebGlProgram>(readFileSync(join(artifact, library), 'utf8'), WEBGL_VERSION, key);
  const { context } = manifest.model;
  const sizes = { context, sequences: 2, weightsBytes: bytes };
  const executor = new WebGlExecutor(program, { key, kernels, kv: 'f32', ...sizes });
  executor.weights.set(readFileSync(join(artifact, file)));
  const upload: Upload = (weights) => new Matrices(program, weights, 'cpu');
  executor.give(upload);
  selfTest(executor, kernels);
  return { executor, upload, kernels };
}

/** Tokens of a step: no whole number of anything. */
const CHUNK = 7;

/** What a model computes after each token, with a float32 KV cache: logits, [tokens][vocab], and the hidden states before them. */
export async function rowsOnWebGl(
  model: string,
  out: string,
  tokens: readonly number[],
  options: LowerOptions = {},
): Promise<{ logits: Float32Array[]; hidden: Float32Array[] }> {
  const { executor } = await webGlOnCpu(model, out, options);
  const logits: Float32Array[] = [];
  const hidden: Float32Array[] = [];
  for (let first = 0; first < tokens.length; first += CHUNK) {
    const batch = tokens.slice(first, first + CHUNK).map((id, i) => {
      return { id, position: first + i, sequence: 1, logitsRow: i, hiddenRow: i };
    });
    const found = executor.step(batch);
    batch.forEach((_, i) => {
      logits.push(found.logits.slice(i * executor.vocab, (i + 1) * executor.vocab));
      hidden.push(found.hidden.slice(i * executor.embedding, (i + 1) * executor.embedding));
    });
  }
  return { logits, hidden };
}
