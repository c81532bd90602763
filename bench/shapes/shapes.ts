import { BitnetError } from '../../errors.ts';

/** The sizes of a published model. The architecture implies activation, norms and the kind of rope. */
export interface Shape {
  readonly architecture: 'bitnet' | 'bitnet-b1.58' | 'llama' | 'qwen3' | 'gemma3';
  readonly embedding: number;
  readonly ffn: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly ropeBase: number;
  readonly context: number;
  /** The embedding table is the head, too. */
  readonly tied: boolean;
}

const bitnet = { architecture: 'bitnet', vocab: 32002, ropeBase: 10000, context: 2048, tied: true } as const;
const falcon3 = {
  architecture: 'llama',
  kvHeads: 4,
  headDim: 256,
  vocab: 131072,
  ropeBase: 1000042,
  context: 8192,
  tied: false,
} as const;

/** Models by the names they go by, and `tiny` for tests. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  tiny: {
    architecture: 'bitnet-b1.58',
    embedding: 256,
    ffn: 512,
    layers: 2,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    vocab: 512,
    ropeBase: 10000,
    context: 512,
    tied: true,
  },
  // 1bitLLM/bitnet_b1_58-large
  large: { ...bitnet, embedding: 1536, ffn: 4096, layers: 24, heads: 16, kvHeads: 16, headDim: 96 },
  // 1bitLLM/bitnet_b1_58-3B
  '3b': { ...bitnet, embedding: 3200, ffn: 8640, layers: 26, heads: 32, kvHeads: 32, headDim: 100 },
  // microsoft/BitNet-b1.58-2B-4T
  '2b4t': {
    architecture: 'bitnet-b1.58',
    embedding: 2560,
    ffn: 6912,
    layers: 30,
    heads: 20,
    kvHeads: 5,
    headDim: 128,
    vocab: 128256,
    ropeBase: 500000,
    context: 4096,
    tied: true,
  },
  // HF1BitLLM/Llama3-8B-1.58-100B-tokens
  '8b': {
    architecture: 'llama',
    embedding: 4096,
    ffn: 14336,
    layers: 32,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    vocab: 128256,
    ropeBase: 500000,
    context: 8192,
    tied: false,
  },
  // tiiuae/Falcon3-*-Instruct-1.58bit
  'falcon3-1b': { ...falcon3, embedding: 2048, ffn: 8192, layers: 18, heads: 8 },
  'falcon3-3b': { ...falcon3, embedding: 3072, ffn: 9216, layers: 22, heads: 12 },
  'falcon3-7b': { ...falcon3, embedding: 3072, ffn: 23040, layers: 28, heads: 12 },
  'falcon3-10b': { ...falcon3, embedding: 3072, ffn: 23040, layers: 40, heads: 12 },
  // microsoft/bitnet-embedding-0.6b and -270m
  'embedding-0.6b': {
    architecture: 'qwen3',
    embedding: 1024,
    ffn: 3072,
    layers: 28,
    heads: 16,
    kvHeads: 8,
    headDim: 128,
    vocab: 151936,
    ropeBase: 1000000,
    context: 32768,
    tied: true,
  },
  'embedding-270m': {
    architecture: 'gemma3',
    embedding: 640,
    ffn: 2048,
    layers: 18,
    heads: 4,
    kvHeads: 1,
    headDim: 256,
    vocab: 262144,
    ropeBase: 10000,
    context: 32768,
    tied: true,
  },
};

/** The shape of that name. Throws BitnetError with the names there are. */
export function shapeByName(name: string): Shape {
  const shape = Object.hasOwn(SHAPES, name) ? SHAPES[name] : undefined;
  if (shape !== undefined) return shape;
  throw new BitnetError(`there is no shape "${name}"`, { hint: `Shapes are ${Object.keys(SHAPES).join(', ')}.` });
}
