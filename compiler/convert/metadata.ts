import { BitnetError } from '../../errors.ts';
import { type Gguf, isGguf, type MetadataValue, readGguf, type ScalarType } from '../import/gguf/reader.ts';
import { ROPE_FACTORS } from '../import/gguf/rope.ts';
import type { Encoding, ModelIR, Pooling } from '../ir/model.ts';
import { architectureOf } from '../models/index.ts';
import type { WeightEncoding } from './recipe.ts';

/** What llama.cpp and bitnet.cpp call a file whose matrices are of that type. */
const FILE_TYPES: Readonly<Partial<Record<Encoding, number>>> = {
  f16: 1,
  bf16: 32,
  tq1_0: 36,
  tq2_0: 37,
  tl1: 38,
  tl2: 39,
  i2_s: 40,
};

/** Values of the key `pooling_type`; 0 is none. */
const POOLING_TYPES: Readonly<Record<Pooling, number>> = { mean: 1, cls: 2, last: 3 };

const ALIGNMENT = 32;
const QUANTIZATION_VERSION = 2;

/** What of a GGUF file is not the model's tensors. */
export interface GgufSurroundings {
  readonly metadata: Map<string, MetadataValue>;
  /** Factors of rotary frequencies that go into a tensor. */
  readonly ropeFactors: readonly number[] | undefined;
}

/**
 * The surroundings of this model in a GGUF file, its matrices stored as `weights`. The metadata of a GGUF file is kept,
 * but for what no longer holds; that of any other is written from what the compiler knows of the model.
 * Throws a BitnetError for a model that the keys of GGUF cannot describe.
 */
export async function ggufSurroundings(ir: ModelIR, weights: WeightEncoding): Promise<GgufSurroundings> {
  const gguf = await sourceGguf(ir);
  const metadata = new Map(gguf?.metadata ?? describe(ir));
  metadata.set('general.alignment', uint32(ALIGNMENT));
  metadata.set('general.file_type', uint32(FILE_TYPES[weights]!));
  const { scaling } = ir.hyper.rope;
  // A GGUF file without the tensor has keys that the factors follow from.
  const asTensor = gguf === undefined || gguf.tensors.some(({ name }) => name === ROPE_FACTORS);
  return { metadata, ropeFactors: scaling.kind === 'factors' && asTensor ? scaling.factors : undefined };
}

/** The header of the file that a model comes from, if that is a GGUF file. */
async function sourceGguf({ source }: ModelIR): Promise<Gguf | undefined> {
  const [{ path }] = source.files;
  return (await isGguf(path)) ? readGguf(path) : undefined;
}

const of = (type: ScalarType, value: number | string | boolean): MetadataValue => ({ type, value });
const uint32 = (value: number): MetadataValue => of('uint32', value);
const float32 = (value: number): MetadataValue => of('float32', value);
const text = (value: string): MetadataValue => of('string', value);
const list = (elementType: ScalarType, value: readonly (number | string | boolean)[]): MetadataValue => ({
  type: 'array',
  elementType,
  value,
});

/** The keys by which llama.cpp, bitnet.cpp and this compiler know a model. */
function describe(ir: ModelIR): Map<string, MetadataValue> {
  return new Map([
    ['general.architecture', text(ir.architecture)],
    ['general.type', text('model')],
    ['general.name', text(ir.name)],
    ['general.quantization_version', uint32(QUANTIZATION_VERSION)],
    ...hyperKeys(ir),
    ...tokenizerKeys(ir),
  ]);
}

function hyperKeys({ hyper, architecture, pooling }: ModelIR): [string, MetadataValue][] {
  const { activation } = architectureOf(architecture);
  if (hyper.activation !== activation) {
    throw new BitnetError(
      `this ${architecture} model has the activation ${hyper.activation}, but GGUF files have no key for it: ${architecture} there means ${activation}`,
      { hint: 'keep the model in SafeTensors files' },
    );
  }
  const { attentionScale, window } = hyper;
  const { scaling } = hyper.rope;
  const keys: [string, MetadataValue][] = [
    ['block_count', uint32(hyper.layers)],
    ['context_length', uint32(hyper.context)],
    ['embedding_length', uint32(hyper.embedding)],
    ['feed_forward_length', uint32(hyper.ffn)],
    ['vocab_size', uint32(hyper.vocab)],
    ['attention.head_count', uint32(hyper.heads)],
    ['attention.head_count_kv', uint32(hyper.kvHeads)],
    ['attention.key_length', uint32(hyper.headDim)],
    ['attention.value_length', uint32(hyper.headDim)],
    ['attention.layer_norm_rms_epsilon', float32(hyper.normEpsilon)],
    ['rope.dimension_count', uint32(hyper.rope.dimensions)],
    ['rope.freq_base', float32(hyper.rope.base)],
  ];
  if (scaling.kind === 'linear') {
    keys.push(['rope.scaling.type', text('linear')], ['rope.scaling.factor', float32(scaling.factor)]);
  }
  if (attentionScale !== undefined) keys.push(['attention.scale', float32(attentionScale)]);
  if (window !== undefined) {
    keys.push(
      ['attention.sliding_window', uint32(window.positions)],
      ['attention.sliding_window_pattern', list('bool', window.local)],
      ['rope.freq_base_swa', float32(window.ropeBase)],
    );
  }
  if (pooling !== undefined) keys.push(['pooling_type', uint32(POOLING_TYPES[pooling])]);
  return keys.map(([key, value]) => [`${architecture}.${key}`, value]);
}

function tokenizerKeys({ tokenizer }: ModelIR): [string, MetadataValue][] {
  const keys: [string, MetadataValue][] = [
    ['model', text(tokenizer.model)],
    ['pre', text(tokenizer.pre)],
    ['tokens', list('string', tokenizer.tokens)],
  ];
  if (tokenizer.types.length > 0) keys.push(['token_type', list('int32', tokenizer.types)]);
  if (tokenizer.model === 'llama') keys.push(['scores', list('float32', tokenizer.scores)]);
  // Beside scores other engines pass over them, and nothing of tokenizer.json is lost.
  if (tokenizer.merges.length > 0) keys.push(['merges', list('string', tokenizer.merges)]);
  for (const name of ['bos', 'eos', 'eot', 'unknown', 'padding'] as const) {
    const id = tokenizer[name];
    if (id !== null) keys.push([`${name}_token_id`, uint32(id)]);
  }
  keys.push(['add_bos_token', of('bool', tokenizer.addBos)], ['add_eos_token', of('bool', tokenizer.addEos)]);
  keys.push(['add_space_prefix', of('bool', tokenizer.addSpacePrefix)]);
  const prefixed = keys.map(([key, value]): [string, MetadataValue] => [`tokenizer.ggml.${key}`, value]);
  if (tokenizer.chatTemplate === null) return prefixed;
  return [...prefixed, ['tokenizer.chat_template', text(tokenizer.chatTemplate)]];
}
