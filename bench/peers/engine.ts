import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../../compiler/build/cache-folder.ts';
import { encodedBytes } from '../../compiler/import/encodings/index.ts';
import type { FloatEncodingName, TernaryEncodingName } from '../../compiler/ir/model.ts';
import { type Shape, shapeByName, synthesize } from '../shapes/index.ts';

/** What is measured in every round. */
export interface Work {
  readonly threads: number;
  readonly promptTokens: number;
  readonly newTokens: number;
}

/** Tokens a second. */
export interface Speeds {
  readonly prefill: number;
  readonly decode: number;
  /** How the engine names itself. */
  readonly version: string;
}

/** One engine with one model file. */
export interface Engine {
  readonly name: string;
  readonly model: ModelFile;
  /** One round, in a process or a state that is warm. Throws an Error for a result that cannot be. */
  run(work: Work): Promise<Speeds>;
  close?(): Promise<void>;
}

export interface ModelFile {
  readonly path: string;
  readonly architecture: Shape['architecture'];
  readonly weights: TernaryEncodingName;
  readonly head: FloatEncodingName;
  /** Without norms and scales. A table that is embedding and head is counted once by some engines, twice by others. */
  readonly parameters: readonly number[];
  /** Of the ternary matrices and the head, all read for every token. */
  readonly bytesPerToken: number;
}

/** Part of the files' names, so that a change of what is synthesised makes new ones. */
const GENERATION = 1;

/**
 * The random model of a shape as an engine reads it, made on first use and kept in the user's cache. The same seed gives
 * the same weights in every encoding. Engines that know no `bitnet-b1.58` get the same sizes as `bitnet`, which differs
 * in the activation function only.
 */
export async function modelFile(
  shapeName: string,
  weights: TernaryEncodingName,
  head: FloatEncodingName,
  architecture?: Shape['architecture'],
): Promise<ModelFile> {
  const shape = { ...shapeByName(shapeName), ...(architecture === undefined ? {} : { architecture }) };
  const folder = cacheFolder('peers');
  const path = join(folder, `${shapeName}-${shape.architecture}-${weights}-${head}-random${GENERATION}.gguf`);
  if (!existsSync(path)) {
    await mkdir(folder, { recursive: true });
    console.error(`making ${path}`);
    await synthesize(shape, path, { ternary: weights, headEncoding: head });
  }
  return { path, architecture: shape.architecture, weights, head, ...sizesOf(shape, weights, head) };
}

function sizesOf(shape: Shape, weights: TernaryEncodingName, head: FloatEncodingName) {
  const { embedding, ffn, layers, vocab, heads, kvHeads, headDim, tied } = shape;
  const matrices: [number, number][] = [
    [heads * headDim, embedding],
    [kvHeads * headDim, embedding],
    [kvHeads * headDim, embedding],
    [embedding, heads * headDim],
    [ffn, embedding],
    [ffn, embedding],
    [embedding, ffn],
  ];
  const sum = (of: (matrix: [number, number]) => number) => matrices.reduce((total, one) => total + of(one), 0);
  const linears = layers * sum(([rows, cols]) => rows * cols);
  return {
    parameters: (tied ? [1, 2] : [2]).map((tables) => linears + tables * vocab * embedding),
    bytesPerToken: layers * sum((matrix) => encodedBytes(weights, matrix)) + encodedBytes(head, [vocab, embedding]),
  };
}
