import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { FLOAT, isTernary } from '../import/encodings/index.ts';
import { llama3Factors } from '../import/gguf/rope.ts';
import { activationName, classOf } from '../import/huggingface/config.ts';
import { huggingFaceName, normShift } from '../import/huggingface/names.ts';
import { POOLING, poolingSettings } from '../import/huggingface/pooling.ts';
import { CONFIG, NAME, WEIGHTS } from '../import/huggingface/shards.ts';
import { GENERATION_CONFIG } from '../import/huggingface/special-tokens.ts';
import type { Dtype } from '../import/safetensors/dtypes.ts';
import type { Encoding, FloatEncodingName, ModelIR, RopeScaling } from '../ir/model.ts';
import { systemErrors } from '../system-errors.ts';
import type { TensorSource } from './gguf.ts';
import { tokenizerFiles } from './huggingface-tokenizer.ts';
import { type SafetensorsSource, writeSafetensors } from './safetensors.ts';

/**
 * How the ternary matrices of a checkpoint are stored: `packed` in bytes with a weight_scale beside each, as float
 * `masters` that are quantised whenever they are used, or as `plain` real numbers that happen to be ternary.
 */
export type HuggingFaceWeights = 'packed' | 'masters' | 'plain';

const QUANTIZATION: Readonly<Record<HuggingFaceWeights, object | undefined>> = {
  // Of the two conventions that transformers has, the one in which weight_scale multiplies: no rounding of 1 / scale.
  packed: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' },
  masters: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' },
  plain: undefined,
};

const DTYPES: Readonly<Partial<Record<Encoding, Dtype>>> = { f32: 'F32', f16: 'F16', bf16: 'BF16', hf_u8: 'U8' };

/** Parameters of Llama 3's rope scaling in use: 3.1 and 3.3, and 3.2. */
const LLAMA3 = [8, 32].map((factor) => ({ factor, low: 1, high: 4, context: 8192 }));

/**
 * All files of a Hugging Face folder but the tensors, by name: config.json, generation_config.json, the tokenizer, and how
 * an embedding model pools.
 * What our importer reads back as the same model, and transformers too where it has the architecture.
 * Throws BitnetError for a model that these files cannot describe.
 */
export function huggingFaceFiles(ir: ModelIR, weights: HuggingFaceWeights): ReadonlyMap<string, string | Uint8Array> {
  const { bos, eos, eot, padding } = ir.tokenizer;
  const ends = [...new Set([eos, eot])].filter((id) => id !== null);
  const specials = { bos_token_id: bos, eos_token_id: eos, pad_token_id: padding };
  const generation = { ...specials, eos_token_id: ends.length > 1 ? ends : (ends[0] ?? null) };
  return new Map<string, string | Uint8Array>([
    [CONFIG, toJson({ ...modelConfig(ir), ...specials, quantization_config: QUANTIZATION[weights] })],
    [GENERATION_CONFIG, toJson(generation)],
    ...tokenizerFiles(ir.tokenizer),
    ...(ir.pooling ? [[POOLING, toJson(poolingSettings(ir.pooling))] as const] : []),
  ]);
}

/**
 * Writes a Hugging Face folder: model.safetensors with these tensors, under the names of transformers, and everything
 * that belongs to it. Names, shapes and values of `tensors` are those of GGUF files; their encodings f32, f16, bf16 and
 * hf_u8; queries and keys rotate in halves. A matrix of hf_u8 has its scale in a `.scale` tensor.
 * Throws BitnetError for a model or tensor that cannot be described, and if the system refuses to write.
 */
export async function writeHuggingFace(folder: string, ir: ModelIR, tensors: readonly TensorSource[]): Promise<void> {
  const files = huggingFaceFiles(ir, weightsOf(ir, tensors));
  const sources = tensors.map((tensor) => sourceOf(tensor, ir.architecture));
  await systemErrors(async () => {
    await mkdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await writeSafetensors(join(folder, WEIGHTS), sources, { format: 'pt', [NAME]: ir.name });
    for (const [name, contents] of files) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), contents);
    }
  });
}

function weightsOf(ir: ModelIR, tensors: readonly TensorSource[]): HuggingFaceWeights {
  if (tensors.some(({ encoding }) => isTernary(encoding))) return 'packed';
  return ir.tensors.some(({ quantise }) => quantise !== undefined) ? 'masters' : 'plain';
}

function sourceOf(tensor: TensorSource, architecture: string): SafetensorsSource {
  const { encoding, shape } = tensor;
  const name = huggingFaceName(architecture, tensor.name);
  if (name === undefined)
    throw new BitnetError(`the tensor ${tensor.name} has no name in Hugging Face's ${architecture}`);
  const dtype = DTYPES[encoding];
  if (dtype === undefined)
    throw new BitnetError(`SafeTensors files cannot hold ${encoding}, as tensor ${tensor.name} is`);
  if (normShift(architecture, tensor.name) !== 0) {
    return { name, dtype: 'F32', shape, data: () => lessOne(tensor) };
  }
  if (encoding !== 'hf_u8') return { name, dtype, shape, data: () => tensor.data() };
  const [rows, cols] = shape as [number, number];
  if (rows % 4 !== 0) {
    throw new BitnetError(`tensor ${tensor.name} has ${rows} rows: packed weights need a multiple of 4`, {
      hint: 'convert to f16 or bf16, or to GGUF',
    });
  }
  return { name, dtype, shape: [rows / 4, cols], data: () => tensor.data() };
}

/** The weights of a norm as Gemma stores them. */
async function* lessOne(tensor: TensorSource): AsyncGenerator<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of tensor.data()) chunks.push(Uint8Array.from(chunk));
  const values = new Float32Array(tensor.shape.reduce((count, size) => count * size, 1));
  FLOAT[tensor.encoding as FloatEncodingName].decode(Buffer.concat(chunks), values);
  yield FLOAT.f32.encode(values.map((value) => value - 1));
}

function modelConfig(ir: ModelIR): object {
  const { hyper, architecture } = ir;
  const known = classOf(architecture);
  if (known === undefined) throw new BitnetError(`Hugging Face has no class for the architecture ${architecture}`);
  const { rope, window } = hyper;
  const activation = activationName(hyper.activation);
  return {
    architectures: [known.className],
    model_type: known.modelType,
    hidden_size: hyper.embedding,
    intermediate_size: hyper.ffn,
    num_hidden_layers: hyper.layers,
    num_attention_heads: hyper.heads,
    num_key_value_heads: hyper.kvHeads,
    head_dim: hyper.headDim,
    vocab_size: hyper.vocab,
    max_position_embeddings: hyper.context,
    rms_norm_eps: hyper.normEpsilon,
    hidden_act: activation,
    ...(architecture === 'gemma3' && { hidden_activation: activation }),
    attention_bias: false,
    rope_theta: rope.base,
    rope_scaling: scalingOf(rope.scaling, rope.dimensions, rope.base),
    ...(rope.dimensions !== hyper.headDim && { partial_rotary_factor: rope.dimensions / hyper.headDim }),
    ...(hyper.attentionScale !== undefined && { query_pre_attn_scalar: hyper.attentionScale ** -2 }),
    ...(window && {
      sliding_window: window.positions,
      rope_local_base_freq: window.ropeBase,
      layer_types: window.local.map((local) => (local ? 'sliding_attention' : 'full_attention')),
    }),
    tie_word_embeddings: !ir.tensors.some(({ name }) => name === 'output.weight'),
  };
}

function scalingOf(scaling: RopeScaling, dimensions: number, base: number): object | null {
  if (scaling.kind === 'none') return null;
  if (scaling.kind === 'linear') return { rope_type: 'linear', factor: scaling.factor };
  for (const { factor, low, high, context } of LLAMA3) {
    const expected = llama3Factors(dimensions, base, { factor, low, high, context });
    if (!expected.every((value, i) => Math.abs(scaling.factors[i]! / value - 1) < 1e-6)) continue;
    return {
      rope_type: 'llama3',
      factor,
      low_freq_factor: low,
      high_freq_factor: high,
      original_max_position_embeddings: context,
    };
  }
  throw new BitnetError("the model's rope factors do not follow from Llama 3's rule, so config.json cannot hold them", {
    hint: 'convert to GGUF instead',
  });
}

function toJson(value: object): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
