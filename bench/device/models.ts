import { join } from 'node:path';
import { defaultModel } from '../../index.ts';
import { type Shape, synthesize } from '../shapes/index.ts';

export type HeadEncoding = 'f16' | 'q8_0' | 'q6_k';

/** Small models that take the paths which the default model does not: other heads, heads of 128, no sub-norms. */
export const SMALL: Shape = {
  architecture: 'bitnet-b1.58',
  embedding: 512,
  ffn: 1152,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  headDim: 128,
  vocab: 1003,
  ropeBase: 500000,
  context: 1024,
  tied: true,
};
const SYNTHETIC: Readonly<Record<string, readonly [Shape, HeadEncoding]>> = {
  'flash-f16': [SMALL, 'f16'],
  'flash-q8_0': [SMALL, 'q8_0'],
  'flash-q6_k': [SMALL, 'q6_k'],
  // Whose embeddings are read value by value: tables in tiles are heads. Gate and up have rows for wgmma at 64 tokens and
  // for 16 warps at one.
  'flash-untied': [{ ...SMALL, ffn: 8448, layers: 1, tied: false }, 'q6_k'],
  'flash-llama': [
    { ...SMALL, architecture: 'llama', heads: 6, kvHeads: 1, ffn: 700, vocab: 1100, tied: false },
    'q8_0',
  ],
  'any-qwen3': [{ ...SMALL, architecture: 'qwen3', headDim: 96, tied: false }, 'f16'],
  'any-gemma3': [{ ...SMALL, architecture: 'gemma3', headDim: 64, ffn: 700 }, 'q8_0'],
};

/** A model file that everything is checked with. */
export interface CheckedModel {
  readonly name: string;
  readonly path: string;
  readonly vocab: number;
}

/** The default model and the small ones, which are written to a folder; or only those of them that are named. */
export async function checkedModels(folder: string, names?: readonly string[]): Promise<CheckedModel[]> {
  const models: CheckedModel[] = [{ name: 'default', path: defaultModel(), vocab: 4096 }];
  for (const [name, [shape, headEncoding]] of Object.entries(SYNTHETIC)) {
    const path = join(folder, `${name}.gguf`);
    await synthesize(shape, path, { headEncoding });
    models.push({ name, path, vocab: shape.vocab });
  }
  return names ? models.filter(({ name }) => names.includes(name)) : models;
}
