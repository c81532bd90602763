import { basename, extname, resolve } from 'node:path';
import { BitnetError } from '../../../errors.ts';
import type { Hyper, ModelIR } from '../../ir/model.ts';
import { type Architecture, architectureOf } from '../../models/index.ts';
import type { ImportOptions } from '../options.ts';
import { importAttention, importPooling } from './attention.ts';
import { Keys } from './keys.ts';
import { type Gguf, readGguf } from './reader.ts';
import { importRopeScaling } from './rope.ts';
import { importTensors } from './tensors.ts';
import { importTokenizer } from './tokenizer.ts';

const EMBEDDING = 'token_embd.weight';

/** Beyond any model there is; they keep products of two sizes exact and a typing error from asking for terabytes. */
const MAX = { layers: 4096, width: 2 ** 20, heads: 2 ** 14, vocab: 2 ** 24, context: 2 ** 28 };

/**
 * Reads a GGUF file as a model. Hyper-parameters come from the keys `<architecture>.*`, the vocabulary's size from the
 * rows of `token_embd.weight`; the tensor of rope factors is read into `hyper.rope.scaling` and left out of `tensors`.
 * Throws BitnetError where the architecture is not ours, a key is missing or out of bounds, or a tensor has a type that we cannot compile.
 */
export async function importGguf(path: string, options: ImportOptions = {}): Promise<ModelIR> {
  return modelOf(await readGguf(path), options);
}

/** The same for a file whose header has been read, and may have been mended. */
export async function modelOf(gguf: Gguf, options: ImportOptions = {}): Promise<ModelIR> {
  const path = gguf.file;
  const keys = new Keys(gguf);
  const architecture = keys.text('general.architecture');
  if (!/^[\w.-]{1,64}$/.test(architecture)) throw keys.fault('general.architecture', 'is not a name');
  const hyper = await importHyper(gguf, keys, architectureOf(architecture));
  const pooling = importPooling(keys, architecture);
  return {
    name: keys.text('general.name', '') || basename(path, extname(path)),
    architecture,
    source: {
      path: resolve(path),
      files: [{ path: resolve(path), bytes: gguf.fileBytes }],
      byteOrder: gguf.byteOrder,
    },
    hyper,
    ...(pooling && { pooling }),
    tensors: await importTensors(gguf, hyper, options),
    tokenizer: importTokenizer(keys, hyper.vocab),
  };
}

async function importHyper(gguf: Gguf, keys: Keys, architecture: Architecture): Promise<Hyper> {
  const key = (name: string) => `${architecture.id}.${name}`;
  const size = (name: string, max: number, otherwise?: number) => keys.integer(key(name), { min: 1, max }, otherwise);

  const embedding = size('embedding_length', MAX.width);
  const heads = size('attention.head_count', MAX.heads);
  const kvHeads = size('attention.head_count_kv', MAX.heads, heads);
  if (heads % kvHeads !== 0) {
    throw keys.fault(key('attention.head_count_kv'), `is ${kvHeads}, which does not divide the ${heads} heads`);
  }
  const headDim = importHeadDim(keys, key, embedding, heads);
  const dimensions = size('rope.dimension_count', headDim, headDim);
  if (dimensions % 2 !== 0) throw keys.fault(key('rope.dimension_count'), `is ${dimensions}, an odd number`);
  const rope = { dimensions, base: keys.positive(key('rope.freq_base'), 10000) };
  const layers = size('block_count', MAX.layers);
  return {
    layers,
    embedding,
    ffn: size('feed_forward_length', MAX.width),
    heads,
    kvHeads,
    headDim,
    vocab: importVocab(gguf, embedding),
    context: size('context_length', MAX.context),
    normEpsilon: keys.positive(key('attention.layer_norm_rms_epsilon')),
    activation: architecture.activation,
    rope: {
      ...rope,
      pairs: architecture.ropePairs,
      scaling: await importRopeScaling(gguf, keys, architecture.id, rope),
    },
    ...importAttention(keys, architecture, layers),
  };
}

function importHeadDim(keys: Keys, key: (name: string) => string, embedding: number, heads: number): number {
  const keyLength = key('attention.key_length');
  if (!keys.has(keyLength) && embedding % heads !== 0) {
    throw keys.fault(key('attention.head_count'), `is ${heads}, which does not divide the embedding's ${embedding}`);
  }
  const headDim = keys.integer(keyLength, { min: 2, max: MAX.width }, embedding / heads);
  if (headDim % 2 !== 0) throw keys.fault(keyLength, `makes heads of ${headDim} values, an odd number`);
  const valueLength = key('attention.value_length');
  if (keys.integer(valueLength, { min: 1, max: MAX.width }, headDim) !== headDim) {
    throw keys.fault(valueLength, `differs from the heads' ${headDim} values, which is not supported`);
  }
  return headDim;
}

/** The vocabulary has as many entries as the embedding table has rows. */
function importVocab(gguf: Gguf, embedding: number): number {
  const table = gguf.tensors.find(({ name }) => name === EMBEDDING);
  if (table === undefined) throw new BitnetError(`${gguf.file}: the tensor ${EMBEDDING} is missing`);
  const [rows, columns] = table.shape;
  if (table.shape.length !== 2 || columns !== embedding || rows! > MAX.vocab) {
    throw new BitnetError(
      `${gguf.file}: the tensor ${EMBEDDING} has the shape ${table.shape.join(' × ')}, not vocabulary × ${embedding}`,
    );
  }
  return rows!;
}
