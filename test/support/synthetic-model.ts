import { Random } from '../../bench/shapes/random.ts';
import { GgufBytes } from '../gguf-bytes.ts';
import { ENCODE, type Encoded, encodeI2S, order } from './encode.ts';

type FloatEncoding = keyof typeof ENCODE;

/** A small model, as its GGUF file and as plain numbers. */
export interface Description {
  readonly architecture: 'bitnet' | 'bitnet-b1.58' | 'bitnet-25' | 'llama' | 'qwen3' | 'gemma3';
  readonly embedding: number;
  readonly ffn: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocab: number;
  readonly ropeBase: number;
  /** Of the head's dimensions; all where it is left out. */
  readonly ropeDimensions?: number;
  readonly ropeLinear?: number;
  readonly ropeFactors?: readonly number[];
  readonly epsilon: number;
  readonly embeddingEncoding: FloatEncoding;
  /** A head of its own; tied to the embedding where it is left out. */
  readonly headEncoding?: FloatEncoding;
  /** A `.scale` tensor beside each linear. */
  readonly scaleTensors?: boolean;
  /** A norm of its own before each linear. */
  readonly inputNorms?: boolean;
  /** Instead of 1 / sqrt(headDim). */
  readonly attentionScale?: number;
  /** Local layers, as the keys of a file say: a number is after how many layers there is a global one. */
  readonly window?: {
    readonly positions: number;
    readonly pattern?: number | readonly boolean[];
    readonly ropeBase?: number;
  };
  /** Number of the kind of pooling in the file. */
  readonly pooling?: number;
  /** Of the file; 128 where it is left out. */
  readonly context?: number;
  /** A token that the tokenizer puts after a text. */
  readonly eos?: number;
  readonly byteOrder?: 'little' | 'big';
  readonly seed: number;
}

/** A ternary matrix: [rows][cols] codes (0, 1, 2), and what each weight is multiplied by. */
export interface Linear {
  readonly rows: number;
  readonly cols: number;
  readonly codes: Uint8Array;
  readonly scale: number;
  /** Of its input. */
  readonly norm: Norm | null;
}

export type Norm = Float64Array;

export interface Layer {
  readonly attnNorm: Norm;
  readonly attnSubNorm: Norm | null;
  readonly ffnNorm: Norm;
  readonly ffnSubNorm: Norm | null;
  /** Of each query and key head. */
  readonly qNorm: Norm | null;
  readonly kNorm: Norm | null;
  /** Of what goes into the residual stream. */
  readonly attnPostNorm: Norm | null;
  readonly ffnPostNorm: Norm | null;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly output: Linear;
  readonly gate: Linear;
  readonly up: Linear;
  readonly down: Linear;
}

export interface Weights {
  /** [vocab][embedding] */
  readonly embedding: Float64Array;
  readonly head: Float64Array;
  readonly outputNorm: Norm;
  readonly layers: readonly Layer[];
}

/**
 * Draws a random model of that description. I2_S asks for matrices of whole blocks of 128 weights. `more` may write
 * further keys.
 */
export function synthetic(
  model: Description,
  more: (file: GgufBytes) => void = () => {},
): { file: Buffer; weights: Weights } {
  const random = new Random(model.seed);
  const inOrder = order(model.byteOrder ?? 'little');
  const gguf = new GgufBytes({ byteOrder: model.byteOrder ?? 'little' });
  writeKeys(gguf, model);
  more(gguf);

  const norm = (name: string, size: number): Norm => {
    const values = Float64Array.from({ length: size }, () => Math.fround(0.5 + random.uniform()));
    gguf.floats(name, [...values]);
    return values;
  };
  const table = (name: string, encoding: FloatEncoding): Encoded => {
    const encoded = ENCODE[encoding](model.vocab * model.embedding, inOrder, random);
    gguf.tensor(name, [model.embedding, model.vocab], encoded.type, encoded.bytes);
    return encoded;
  };
  const linear = (name: string, rows: number, cols: number): Linear => {
    if ((rows * cols) % 128 !== 0) throw new Error(`${name}: ${rows} x ${cols} weights are no whole blocks of I2_S`);
    const scale = Math.fround((0.5 + random.uniform()) / Math.sqrt(cols));
    const { type, bytes, codes } = encodeI2S(rows * cols, scale, inOrder, random);
    gguf.tensor(`${name}.weight`, [cols, rows], type, bytes);
    const inputNorm = model.inputNorms ? norm(`${name}_norm_in.weight`, cols) : null;
    if (!model.scaleTensors) return { rows, cols, codes, scale, norm: inputNorm };
    const factor = Math.fround(0.5 + random.uniform());
    gguf.floats(`${name}.scale`, [factor]);
    return { rows, cols, codes, scale: scale * factor, norm: inputNorm };
  };

  const embedding = table('token_embd.weight', model.embeddingEncoding).values;
  const outputNorm = norm('output_norm.weight', model.embedding);
  const head = model.headEncoding ? table('output.weight', model.headEncoding).values : embedding;
  if (model.ropeFactors) gguf.floats('rope_freqs.weight', [...model.ropeFactors]);
  const subNorms = model.architecture.startsWith('bitnet');
  const postNorms = model.architecture === 'gemma3';
  const headNorms = postNorms || model.architecture === 'qwen3';
  const [attention, keys] = [model.heads * model.headDim, model.kvHeads * model.headDim];
  const layers = Array.from({ length: model.layers }, (_, i): Layer => {
    const block = `blk.${i}`;
    return {
      attnNorm: norm(`${block}.attn_norm.weight`, model.embedding),
      attnSubNorm: subNorms ? norm(`${block}.attn_sub_norm.weight`, attention) : null,
      ffnNorm: norm(`${block}.ffn_norm.weight`, model.embedding),
      ffnSubNorm: subNorms ? norm(`${block}.ffn_sub_norm.weight`, model.ffn) : null,
      qNorm: headNorms ? norm(`${block}.attn_q_norm.weight`, model.headDim) : null,
      kNorm: headNorms ? norm(`${block}.attn_k_norm.weight`, model.headDim) : null,
      attnPostNorm: postNorms ? norm(`${block}.post_attention_norm.weight`, model.embedding) : null,
      ffnPostNorm: postNorms ? norm(`${block}.post_ffw_norm.weight`, model.embedding) : null,
      q: linear(`${block}.attn_q`, attention, model.embedding),
      k: linear(`${block}.attn_k`, keys, model.embedding),
      v: linear(`${block}.attn_v`, keys, model.embedding),
      output: linear(`${block}.attn_output`, model.embedding, attention),
      gate: linear(`${block}.ffn_gate`, model.ffn, model.embedding),
      up: linear(`${block}.ffn_up`, model.ffn, model.embedding),
      down: linear(`${block}.ffn_down`, model.embedding, model.ffn),
    };
  });
  return { file: gguf.build(), weights: { embedding, head, outputNorm, layers } };
}

function writeKeys(gguf: GgufBytes, model: Description): void {
  const key = (name: string) => `${model.architecture}.${name}`;
  gguf.text('general.architecture', model.architecture).text('general.name', `synthetic ${model.seed}`);
  gguf.u32(key('block_count'), model.layers).u32(key('context_length'), model.context ?? 128);
  gguf.u32(key('embedding_length'), model.embedding).u32(key('feed_forward_length'), model.ffn);
  gguf.u32(key('attention.head_count'), model.heads).u32(key('attention.head_count_kv'), model.kvHeads);
  gguf.u32(key('attention.key_length'), model.headDim).u32(key('attention.value_length'), model.headDim);
  gguf.f32(key('attention.layer_norm_rms_epsilon'), model.epsilon).f32(key('rope.freq_base'), model.ropeBase);
  if (model.ropeDimensions) gguf.u32(key('rope.dimension_count'), model.ropeDimensions);
  if (model.ropeLinear) {
    gguf.text(key('rope.scaling.type'), 'linear').f32(key('rope.scaling.factor'), model.ropeLinear);
  }
  if (model.attentionScale) gguf.f32(key('attention.scale'), model.attentionScale);
  if (model.pooling !== undefined) gguf.u32(key('pooling_type'), model.pooling);
  if (model.window) {
    const { positions, pattern, ropeBase } = model.window;
    gguf.u32(key('attention.sliding_window'), positions);
    if (typeof pattern === 'number') gguf.u32(key('attention.sliding_window_pattern'), pattern);
    else if (pattern) {
      const BOOL = 7;
      gguf.list(
        key('attention.sliding_window_pattern'),
        BOOL,
        pattern.map((local) => gguf.integer(1, Number(local))),
      );
    }
    if (ropeBase) gguf.f32(key('rope.freq_base_swa'), ropeBase);
  }
  // The letters are tokens, so that texts can be read; what there must be one merge of occurs in none.
  const first = [...'abcdefghijklmnopqrstuvwxyz', 'À', 'ÀÀ'];
  const tokens = Array.from({ length: model.vocab }, (_, id) => first[id] ?? `t${id}`);
  gguf.text('tokenizer.ggml.model', 'gpt2').texts('tokenizer.ggml.tokens', tokens);
  gguf.texts('tokenizer.ggml.merges', ['À À']);
  if (model.eos !== undefined) {
    gguf.u32('tokenizer.ggml.eos_token_id', model.eos).raw('tokenizer.ggml.add_eos_token', 7, gguf.integer(1, 1));
  }
}
