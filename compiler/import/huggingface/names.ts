/** Modules of a model that are not in a layer: GGUF name, Hugging Face name. */
const MODEL: readonly Pair[] = [
  ['token_embd', 'model.embed_tokens'],
  ['output_norm', 'model.norm'],
  ['output', 'lm_head'],
];

/** Modules of each layer that all architectures have. */
const LAYER: readonly Pair[] = [
  ['attn_norm', 'input_layernorm'],
  ['attn_q', 'self_attn.q_proj'],
  ['attn_k', 'self_attn.k_proj'],
  ['attn_v', 'self_attn.v_proj'],
  ['attn_output', 'self_attn.o_proj'],
  ['ffn_gate', 'mlp.gate_proj'],
  ['ffn_up', 'mlp.up_proj'],
  ['ffn_down', 'mlp.down_proj'],
];

const LLAMA: readonly Pair[] = [...LAYER, ['ffn_norm', 'post_attention_layernorm']];

/** The names of transformers, which are written, and those of 1bitLLM's own class. */
const BITNET: readonly Pair[] = [
  ...LLAMA,
  ['attn_sub_norm', 'self_attn.attn_sub_norm'],
  ['ffn_sub_norm', 'mlp.ffn_sub_norm'],
  ['attn_sub_norm', 'self_attn.inner_attn_ln'],
  ['ffn_sub_norm', 'mlp.ffn_layernorm'],
];

/** The norms of heads, and those before each projection that BitNet's embedding models have. */
const NORMS: readonly Pair[] = [
  ['attn_q_norm', 'self_attn.q_norm'],
  ['attn_k_norm', 'self_attn.k_norm'],
  ['attn_q_norm_in', 'self_attn.q_proj.norm'],
  ['attn_k_norm_in', 'self_attn.k_proj.norm'],
  ['attn_v_norm_in', 'self_attn.v_proj.norm'],
  ['attn_output_norm_in', 'self_attn.o_proj.norm'],
  ['ffn_gate_norm_in', 'mlp.gate_proj.norm'],
  ['ffn_up_norm_in', 'mlp.up_proj.norm'],
  ['ffn_down_norm_in', 'mlp.down_proj.norm'],
];

const LAYERS: Readonly<Record<string, readonly Pair[]>> = {
  bitnet: BITNET,
  'bitnet-b1.58': BITNET,
  'bitnet-25': BITNET,
  llama: LLAMA,
  qwen3: [...LLAMA, ...NORMS],
  gemma3: [
    ...LAYER,
    ...NORMS,
    ['post_attention_norm', 'post_attention_layernorm'],
    ['ffn_norm', 'pre_feedforward_layernorm'],
    ['post_ffw_norm', 'post_feedforward_layernorm'],
  ],
};

/** Parameters of a module: `.scale` in GGUF files is `.weight_scale` here. */
const PARAMETERS: readonly Pair[] = [
  ['weight', 'weight'],
  ['scale', 'weight_scale'],
];

type Pair = readonly [gguf: string, huggingFace: string];

/**
 * The GGUF name of a tensor of a Hugging Face checkpoint, undefined where the architecture has none for it. Base
 * models, as those for embeddings, leave out the `model.` in front.
 */
export function ggufName(architecture: string, name: string): string | undefined {
  const full = /^(?:embed_tokens|norm|layers)\./.test(name) ? `model.${name}` : name;
  const { module, parameter } = parts(full);
  const known = PARAMETERS.find(([, theirs]) => theirs === parameter)?.[0];
  if (known === undefined) return undefined;
  const layer = /^model\.layers\.(0|[1-9]\d{0,5})\.(.+)$/.exec(module);
  const ours = layer
    ? LAYERS[architecture]?.find(([, theirs]) => theirs === layer[2])?.[0]
    : MODEL.find(([, theirs]) => theirs === module)?.[0];
  if (ours === undefined) return undefined;
  return layer ? `blk.${layer[1]}.${ours}.${known}` : `${ours}.${known}`;
}

/** The inverse of `ggufName`, with the names of transformers. */
export function huggingFaceName(architecture: string, name: string): string | undefined {
  const { module, parameter } = parts(name);
  const known = PARAMETERS.find(([ours]) => ours === parameter)?.[1];
  if (known === undefined) return undefined;
  const layer = /^blk\.(0|[1-9]\d{0,5})\.(.+)$/.exec(module);
  const theirs = layer
    ? LAYERS[architecture]?.find(([ours]) => ours === layer[2])?.[1]
    : MODEL.find(([ours]) => ours === module)?.[1];
  if (theirs === undefined) return undefined;
  return layer ? `model.layers.${layer[1]}.${theirs}.${known}` : `${theirs}.${known}`;
}

/**
 * By how much a norm's weights in GGUF files exceed those of the checkpoint: Gemma's own norms compute x · (1 + w), and
 * the others, as those before BitNet's projections, x · w.
 */
export function normShift(architecture: string, name: string): 0 | 1 {
  return architecture === 'gemma3' && name.endsWith('_norm.weight') ? 1 : 0;
}

function parts(name: string): { module: string; parameter: string } {
  const dot = name.lastIndexOf('.');
  return { module: name.slice(0, dot), parameter: name.slice(dot + 1) };
}
