import { type TensorSource, writeGguf } from '../../compiler/export/gguf.ts';
import {
  encodedBytes,
  encodeTernary,
  FLOAT16,
  type FloatEncodingName,
  isTernary,
  type TernaryEncodingName,
  toFloat16,
} from '../../compiler/import/encodings/index.ts';
import type { MetadataValue, ScalarType } from '../../compiler/import/gguf/reader.ts';
import type { Encoding } from '../../compiler/ir/model.ts';
import { architectureOf } from '../../compiler/models/index.ts';
import { BitnetError } from '../../errors.ts';
import { FILL, type Fill, fillCodes } from './fill.ts';
import { Random } from './random.ts';
import type { Shape } from './shapes.ts';
import { makeVocabulary } from './vocabulary.ts';

export interface SynthesisOptions {
  /** Of the ternary linears: I2_S. */
  readonly ternary?: TernaryEncodingName;
  /** Of the embedding table and the head: float16. */
  readonly headEncoding?: FloatEncodingName;
  /** Instead of the shape's own. */
  readonly layers?: number;
  readonly vocab?: number;
  /** Same seed, same file. */
  readonly seed?: number;
  readonly onProgress?: (bytes: number, total: number) => void;
}

/** Values at a time: whole blocks of every encoding, and little memory. */
const CHUNK_VALUES = 1 << 21;
const MIN_VOCAB = 258;

/**
 * Writes a model of that shape with random weights to `path`, in little memory: ternary linears with one scale each,
 * such that activations stay small, embeddings around zero, norms around one, and a vocabulary of the right size.
 * Throws BitnetError if an encoding's blocks do not fit the shape.
 */
export async function synthesize(shape: Shape, path: string, options: SynthesisOptions = {}): Promise<void> {
  const { layers = shape.layers, vocab = shape.vocab, seed = 1, ternary = 'i2_s', headEncoding = 'f16' } = options;
  if (vocab < MIN_VOCAB) throw new BitnetError(`a vocabulary of ${vocab} is less than ${MIN_VOCAB}`);
  const model: Shape = { ...shape, layers, vocab };
  const tensors = listTensors(model, headEncoding, ternary);
  const total = tensors.reduce((sum, tensor) => sum + encodedBytes(tensor.encoding, tensor.shape), 0);
  let written = 0;
  const onChunk = (bytes: number) => {
    written += bytes;
    options.onProgress?.(written, total);
  };
  const sources = tensors.map((tensor, index) => makeSource(tensor, new Random(seed * 65536 + index), onChunk));
  await writeGguf(path, describe(model), sources);
}

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  readonly role: 'norm' | 'linear' | 'embedding';
}

function listTensors(shape: Shape, head: FloatEncodingName, ternary: TernaryEncodingName): Tensor[] {
  const { embedding, ffn, heads, kvHeads, headDim, vocab } = shape;
  const norm = (name: string, size: number): Tensor => ({ name, shape: [size], encoding: 'f32', role: 'norm' });
  const matrix = (name: string, rows: number, columns: number, role: 'linear' | 'embedding'): Tensor => {
    const encoding = role === 'linear' ? ternary : head;
    return { name, shape: [rows, columns], encoding, role };
  };
  const { subNorms, headNorms, postNorms, inputNorms } = architectureOf(shape.architecture);
  const layer = (index: number): Tensor[] => {
    const block = `blk.${index}`;
    const linear = (name: string, rows: number, columns: number) => [
      matrix(`${block}.${name}.weight`, rows, columns, 'linear'),
      ...(inputNorms ? [norm(`${block}.${name}_norm_in.weight`, columns)] : []),
    ];
    return [
      norm(`${block}.attn_norm.weight`, embedding),
      ...linear('attn_q', heads * headDim, embedding),
      ...linear('attn_k', kvHeads * headDim, embedding),
      ...linear('attn_v', kvHeads * headDim, embedding),
      ...(subNorms ? [norm(`${block}.attn_sub_norm.weight`, heads * headDim)] : []),
      ...linear('attn_output', embedding, heads * headDim),
      norm(`${block}.ffn_norm.weight`, embedding),
      ...linear('ffn_gate', ffn, embedding),
      ...linear('ffn_up', ffn, embedding),
      ...(subNorms ? [norm(`${block}.ffn_sub_norm.weight`, ffn)] : []),
      ...linear('ffn_down', embedding, ffn),
      ...(headNorms ? ['attn_q_norm', 'attn_k_norm'].map((name) => norm(`${block}.${name}.weight`, headDim)) : []),
      ...(postNorms
        ? ['post_attention_norm', 'post_ffw_norm'].map((name) => norm(`${block}.${name}.weight`, embedding))
        : []),
    ];
  };
  return [
    matrix('token_embd.weight', vocab, embedding, 'embedding'),
    norm('output_norm.weight', embedding),
    ...(shape.tied ? [] : [matrix('output.weight', vocab, embedding, 'embedding')]),
    ...Array.from({ length: shape.layers }, (_, index) => layer(index)).flat(),
  ];
}

function makeSource(tensor: Tensor, random: Random, onChunk: (bytes: number) => void): TensorSource {
  const { name, shape, encoding } = tensor;
  // A scale that float16 holds, so that the model is the same in every ternary encoding's precision.
  const scale = FLOAT16[toFloat16(((0.9 + 0.2 * random.uniform()) * 1.2) / Math.sqrt(shape.at(-1)!))]!;
  return {
    name,
    shape,
    encoding,
    *data() {
      for (const chunk of isTernary(encoding)
        ? [randomTernary(encoding, shape, scale, random)]
        : chunks(tensor, random)) {
        yield chunk;
        onChunk(chunk.length);
      }
    },
  };
}

function randomTernary(encoding: TernaryEncodingName, shape: readonly number[], scale: number, random: Random) {
  const codes = new Uint8Array(shape.reduce((count, size) => count * size, 1));
  fillCodes(random, codes);
  return encodeTernary(encoding, codes, scale, shape);
}

function* chunks({ shape, encoding, role }: Tensor, random: Random): Generator<Uint8Array> {
  const fill = role === 'norm' ? fillNorm : FILL[encoding as FloatEncodingName];
  const bytes = encodedBytes(encoding, shape);
  const chunkBytes = encodedBytes(encoding, [CHUNK_VALUES]);
  const chunk = new Uint8Array(Math.min(bytes, chunkBytes));
  for (let done = 0; done < bytes; done += chunkBytes) {
    const part = chunk.subarray(0, Math.min(bytes - done, chunkBytes));
    fill(random, part);
    yield part;
  }
}

const fillNorm: Fill = (random, bytes) => {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = 0.8 + 0.4 * random.uniform();
};

function describe(shape: Shape): Map<string, MetadataValue> {
  const { tokens, merges, types } = makeVocabulary(shape.vocab);
  const key = (name: string) => `${shape.architecture}.${name}`;
  const one = (type: ScalarType, value: number | string | boolean): MetadataValue => ({ type, value });
  const many = (elementType: ScalarType, value: readonly (number | string)[]): MetadataValue => ({
    type: 'array',
    elementType,
    value,
  });
  return new Map<string, MetadataValue>([
    ['general.architecture', one('string', shape.architecture)],
    [key('context_length'), one('uint32', shape.context)],
    [key('embedding_length'), one('uint32', shape.embedding)],
    [key('block_count'), one('uint32', shape.layers)],
    [key('feed_forward_length'), one('uint32', shape.ffn)],
    [key('attention.head_count'), one('uint32', shape.heads)],
    [key('attention.head_count_kv'), one('uint32', shape.kvHeads)],
    [key('attention.key_length'), one('uint32', shape.headDim)],
    [key('attention.value_length'), one('uint32', shape.headDim)],
    [key('attention.layer_norm_rms_epsilon'), one('float32', 1e-5)],
    [key('rope.dimension_count'), one('uint32', shape.headDim)],
    [key('rope.freq_base'), one('float32', shape.ropeBase)],
    ['tokenizer.ggml.model', one('string', 'gpt2')],
    ['tokenizer.ggml.pre', one('string', 'llama-bpe')],
    ['tokenizer.ggml.tokens', many('string', tokens)],
    ['tokenizer.ggml.token_type', many('int32', types)],
    ['tokenizer.ggml.merges', many('string', merges)],
    ['tokenizer.ggml.bos_token_id', one('uint32', shape.vocab - 2)],
    ['tokenizer.ggml.eos_token_id', one('uint32', shape.vocab - 1)],
    ['tokenizer.ggml.add_bos_token', one('bool', true)],
  ]);
}
