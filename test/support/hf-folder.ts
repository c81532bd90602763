import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bf16, f32, packed, safetensorsBytes, type TensorBytes } from '../safetensors-bytes.ts';

/** Shapes of the models made here. */
export const SIZES = { hidden: 16, ffn: 32, layers: 2, heads: 4, kvHeads: 2, headDim: 8, vocab: 12 };

export type HfFamily =
  | 'BitnetForCausalLM'
  | 'BitNetForCausalLM'
  | 'LlamaForCausalLM'
  | 'Qwen3Model'
  | 'Gemma3TextModel';

/** How ternary matrices are stored: packed with either meaning of weight_scale, or as float masters. */
export type HfWeights = 'divides' | 'multiplies' | 'masters';

const LINEARS: Readonly<Record<string, readonly [rows: number, cols: number]>> = {
  'self_attn.q_proj': [SIZES.heads * SIZES.headDim, SIZES.hidden],
  'self_attn.k_proj': [SIZES.kvHeads * SIZES.headDim, SIZES.hidden],
  'self_attn.v_proj': [SIZES.kvHeads * SIZES.headDim, SIZES.hidden],
  'self_attn.o_proj': [SIZES.hidden, SIZES.heads * SIZES.headDim],
  'mlp.gate_proj': [SIZES.ffn, SIZES.hidden],
  'mlp.up_proj': [SIZES.ffn, SIZES.hidden],
  'mlp.down_proj': [SIZES.hidden, SIZES.ffn],
};

const HEAD_NORMS = { 'self_attn.q_norm': SIZES.headDim, 'self_attn.k_norm': SIZES.headDim };
const INPUT_NORMS = Object.fromEntries(Object.entries(LINEARS).map(([name, [, cols]]) => [`${name}.norm`, cols]));
const LLAMA_NORMS = { input_layernorm: SIZES.hidden, post_attention_layernorm: SIZES.hidden };

const NORMS: Readonly<Record<HfFamily, Readonly<Record<string, number>>>> = {
  BitnetForCausalLM: {
    ...LLAMA_NORMS,
    'self_attn.inner_attn_ln': SIZES.heads * SIZES.headDim,
    'mlp.ffn_layernorm': SIZES.ffn,
  },
  BitNetForCausalLM: {
    ...LLAMA_NORMS,
    'self_attn.attn_sub_norm': SIZES.heads * SIZES.headDim,
    'mlp.ffn_sub_norm': SIZES.ffn,
  },
  LlamaForCausalLM: LLAMA_NORMS,
  Qwen3Model: { ...LLAMA_NORMS, ...HEAD_NORMS, ...INPUT_NORMS },
  Gemma3TextModel: {
    ...LLAMA_NORMS,
    pre_feedforward_layernorm: SIZES.hidden,
    post_feedforward_layernorm: SIZES.hidden,
    ...HEAD_NORMS,
    ...INPUT_NORMS,
  },
};

/** The n-th weight of a made-up ternary matrix. */
export const ternary = (n: number, seed = 0): number => ((n * 7 + seed * 5 + (n >> 3)) % 3) - 1;
const weights = (count: number, seed: number) => Float32Array.from({ length: count }, (_, n) => ternary(n, seed));
/** Quarters: exact in bfloat16. */
const norms = (count: number) => Float32Array.from({ length: count }, (_, n) => (n % 8) / 4 - 0.5);

/** The scale of each ternary matrix: a power of two, whose inverse is exact too. */
export const SCALE = 0.125;

/** The tensors of a model of this family, under Hugging Face's names. Base models have no `model.` in front. */
export function hfTensors(family: HfFamily, style: HfWeights): Record<string, TensorBytes> {
  const prefix = family.endsWith('Model') ? '' : 'model.';
  const table = Float32Array.from({ length: SIZES.vocab * SIZES.hidden }, (_, n) => (n % 16) / 8 - 1);
  const tensors: Record<string, TensorBytes> = {
    [`${prefix}embed_tokens.weight`]: bf16([SIZES.vocab, SIZES.hidden], table),
    [`${prefix}norm.weight`]: f32([SIZES.hidden], norms(SIZES.hidden)),
  };
  for (let layer = 0; layer < SIZES.layers; layer++) {
    const at = `${prefix}layers.${layer}.`;
    for (const [name, size] of Object.entries(NORMS[family]))
      tensors[`${at}${name}.weight`] = bf16([size], norms(size));
    for (const [name, [rows, cols]] of Object.entries(LINEARS)) {
      const values = weights(rows * cols, layer);
      if (style === 'masters') {
        const scaled = values.map((value) => value * SCALE);
        tensors[`${at}${name}.weight`] = bf16([rows, cols], scaled);
      } else {
        tensors[`${at}${name}.weight`] = packed(rows, cols, values);
        tensors[`${at}${name}.weight_scale`] = bf16([1], [style === 'divides' ? 1 / SCALE : SCALE]);
      }
    }
  }
  return tensors;
}

const QUANTIZATION: Readonly<Record<HfWeights, object>> = {
  divides: { quant_method: 'bitnet', modules_to_not_convert: null },
  multiplies: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' },
  masters: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' },
};

const OWN: Readonly<Record<HfFamily, object>> = {
  BitnetForCausalLM: { model_type: 'llama', hidden_act: 'silu', input_bits: 8, weight_bits: 1, rope_scaling: null },
  BitNetForCausalLM: { model_type: 'bitnet', hidden_act: 'relu2', rope_theta: 500000.0 },
  LlamaForCausalLM: { model_type: 'llama', hidden_act: 'silu', rope_theta: 500000.0, mlp_bias: false },
  Qwen3Model: { model_type: 'qwen3', hidden_act: 'silu', rope_theta: 1000000, use_sliding_window: false },
  Gemma3TextModel: {
    model_type: 'gemma3_text',
    hidden_activation: 'gelu_pytorch_tanh',
    rope_theta: 1000000,
    rope_local_base_freq: 10000,
    sliding_window: 32,
    layer_types: ['sliding_attention', 'full_attention'],
    query_pre_attn_scalar: 16,
    attn_logit_softcapping: null,
  },
};

/** config.json of a model of this family. */
export function hfConfig(family: HfFamily, style: HfWeights): Record<string, unknown> {
  return {
    architectures: [family],
    hidden_size: SIZES.hidden,
    intermediate_size: SIZES.ffn,
    num_hidden_layers: SIZES.layers,
    num_attention_heads: SIZES.heads,
    num_key_value_heads: SIZES.kvHeads,
    head_dim: SIZES.headDim,
    vocab_size: SIZES.vocab,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    attention_bias: false,
    tie_word_embeddings: true,
    bos_token_id: 10,
    eos_token_id: 11,
    quantization_config: QUANTIZATION[style],
    ...OWN[family],
  };
}

/** A byte-level tokenizer, with ids that are no token's. */
export const TOKENIZER = {
  version: '1.0',
  added_tokens: [
    { id: 10, content: '<s>', special: true, normalized: false },
    { id: 11, content: '</s>', special: true, normalized: false },
  ],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: {
    type: 'BPE',
    dropout: null,
    vocab: { a: 0, b: 1, c: 2, Ġ: 3, ab: 4, Ġa: 5, abc: 7 },
    merges: ['a b', 'Ġ a', 'ab c'],
  },
};

/** What a folder is made of: JSON, or the bytes of a file. */
export type Files = Readonly<Record<string, object | Buffer>>;

/** The files of a whole model. */
export function hfFiles(
  family: HfFamily = 'BitNetForCausalLM',
  style: HfWeights = 'multiplies',
): Record<string, object | Buffer> {
  return {
    'config.json': hfConfig(family, style),
    'tokenizer.json': TOKENIZER,
    'model.safetensors': safetensorsBytes(hfTensors(family, style)),
  };
}

/** Writes files into a folder, which is made if need be. */
export function writeFiles(folder: string, files: Files): string {
  mkdirSync(folder, { recursive: true });
  for (const [name, contents] of Object.entries(files)) {
    writeFileSync(join(folder, name), Buffer.isBuffer(contents) ? contents : JSON.stringify(contents));
  }
  return folder;
}
