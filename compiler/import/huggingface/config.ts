import type { Activation, Hyper } from '../../ir/model.ts';
import { architectureOf } from '../../models/index.ts';
import { type Fields, show } from './fields.ts';
import { readRope, readWindow } from './rope.ts';

/** Classes and model types of transformers for each architecture. */
interface Family {
  readonly architecture: string;
  readonly classes: readonly string[];
  readonly modelType: string;
}

const FAMILIES: readonly Family[] = [
  // The second class is 1bitLLM's own, of their large and 3B, with a configuration of type llama.
  { architecture: 'bitnet', classes: ['BitNetForCausalLM', 'BitnetForCausalLM', 'BitNetModel'], modelType: 'bitnet' },
  { architecture: 'llama', classes: ['LlamaForCausalLM', 'LLaMAForCausalLM', 'LlamaModel'], modelType: 'llama' },
  { architecture: 'qwen3', classes: ['Qwen3ForCausalLM', 'Qwen3Model'], modelType: 'qwen3' },
  { architecture: 'gemma3', classes: ['Gemma3ForCausalLM', 'Gemma3TextModel'], modelType: 'gemma3_text' },
];

/** Functions of transformers' ACT2FN that we compute. Its `gelu` is another one, by erf. */
const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  relu2: 'relu2',
  silu: 'silu',
  swish: 'silu',
  gelu_pytorch_tanh: 'gelu',
};

/** As in GGUF files: beyond any model there is. */
const MAX = { layers: 4096, width: 2 ** 20, heads: 2 ** 14, vocab: 2 ** 24, context: 2 ** 28 };

/** Settings that change what is computed in a way that we do not follow, and the values that are harmless. */
const HARMLESS: Readonly<Record<string, readonly unknown[]>> = {
  attention_bias: [false],
  mlp_bias: [false],
  use_bias: [false],
  use_sliding_window: [false],
  use_bidirectional_attention: [false],
  attn_logit_softcapping: [],
  final_logit_softcapping: [],
  // Of 1bitLLM's models: the bits of activations and weights.
  input_bits: [8],
  weight_bits: [1],
};

/**
 * Our name for a model's architecture, from `architectures` or else `model_type`. GGUF files have two names for BitNet's
 * block, one with SiLU and one with squared ReLU: here the configuration's activation tells which.
 */
export function readArchitecture(config: Fields): string {
  const [name] = config.list('architectures');
  const type = config.text('model_type', '');
  const custom = name === undefined || (typeof name === 'string' && /(?:ForCausalLM|Model)$/.test(name));
  const family =
    FAMILIES.find(({ classes }) => classes.includes(name as string)) ??
    FAMILIES.find(({ modelType }) => custom && modelType === type);
  if (family === undefined) {
    throw config.fault(
      'architectures',
      `is ${show(name ?? type)}, which is not supported`,
      `Supported are ${FAMILIES.map(({ classes }) => classes[0]).join(', ')}.`,
    );
  }
  return family.architecture === 'bitnet' && readActivation(config) === 'relu2' ? 'bitnet-b1.58' : family.architecture;
}

/** The class of transformers that computes what an architecture of ours does, and its model type. */
export function classOf(architecture: string): { readonly className: string; readonly modelType: string } | undefined {
  const canonical = architecture.startsWith('bitnet') ? 'bitnet' : architecture;
  const family = FAMILIES.find((candidate) => candidate.architecture === canonical);
  return family && { className: family.classes[0]!, modelType: family.modelType };
}

/** The name that transformers has for an activation of ours. */
export function activationName(activation: Activation): string {
  return Object.keys(ACTIVATIONS).find((name) => ACTIVATIONS[name] === activation)!;
}

/**
 * Hyper-parameters out of config.json.
 * Throws BitnetError where one is missing, out of bounds, or of a kind that we do not compute.
 */
export function readHyper(config: Fields, architecture: string): Hyper {
  architectureOf(architecture);
  for (const [key, values] of Object.entries(HARMLESS)) {
    const value = config.raw(key);
    if (value !== undefined && !values.includes(value)) {
      throw config.fault(key, `is ${show(value)}, which is not supported`);
    }
  }
  const size = (key: string, max: number, otherwise?: number) => config.integer(key, { min: 1, max }, otherwise);
  const embedding = size('hidden_size', MAX.width);
  const heads = size('num_attention_heads', MAX.heads);
  const kvHeads = size('num_key_value_heads', MAX.heads, heads);
  if (heads % kvHeads !== 0) {
    throw config.fault('num_key_value_heads', `is ${kvHeads}, which does not divide the ${heads} heads`);
  }
  if (!config.has('head_dim') && embedding % heads !== 0) {
    throw config.fault('num_attention_heads', `is ${heads}, which does not divide the hidden size ${embedding}`);
  }
  const headDim = size('head_dim', MAX.width, embedding / heads);
  if (headDim % 2 !== 0) throw config.fault('head_dim', `is ${headDim}, an odd number`);
  const layers = size('num_hidden_layers', MAX.layers);
  const window = readWindow(config, layers, architecture === 'gemma3');
  return {
    layers,
    embedding,
    ffn: size('intermediate_size', MAX.width),
    heads,
    kvHeads,
    headDim,
    vocab: size('vocab_size', MAX.vocab),
    context: size('max_position_embeddings', MAX.context),
    normEpsilon: config.positive('rms_norm_eps'),
    activation: readActivation(config),
    rope: readRope(config, headDim),
    // Gemma's name for what a head's size would be if scores were scaled by its root.
    ...(config.has('query_pre_attn_scalar') && { attentionScale: config.positive('query_pre_attn_scalar') ** -0.5 }),
    ...(window && { window }),
  };
}

function readActivation(config: Fields): Activation {
  // Gemma has `hidden_act` too, which its class ignores.
  const key = config.has('hidden_activation') ? 'hidden_activation' : 'hidden_act';
  const name = config.text(key);
  if (Object.hasOwn(ACTIVATIONS, name)) return ACTIVATIONS[name]!;
  throw config.fault(
    key,
    `is ${show(name)}, which is not supported`,
    `Supported are ${Object.keys(ACTIVATIONS).join(', ')}.`,
  );
}
