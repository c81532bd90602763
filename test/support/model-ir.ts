import type { Encoding, Hyper, ModelIR, TensorIR } from '../../compiler/ir/model.ts';
import { architectureOf } from '../../compiler/models/index.ts';

/** What a made-up model is like; everything else follows. */
export interface Sketch extends Partial<Omit<Hyper, 'rope'>> {
  readonly architecture?: string;
  readonly rope?: Partial<Hyper['rope']>;
  readonly embeddingEncoding?: Encoding;
  /** A head of its own; tied where it is left out. */
  readonly headEncoding?: Encoding;
  readonly scaleTensors?: boolean;
  /** A norm of its own before each linear. */
  readonly inputNorms?: boolean;
}

/** A ModelIR that no file stands behind, for what happens between the importer and the disk. */
export function sketch(model: Sketch = {}): ModelIR {
  const {
    architecture = 'bitnet-b1.58',
    embeddingEncoding = 'f16',
    headEncoding,
    scaleTensors = false,
    inputNorms = false,
    rope,
  } = model;
  const {
    layers = 2,
    embedding = 64,
    ffn = 128,
    heads = 4,
    kvHeads = 2,
    headDim = 16,
    vocab = 96,
    context = 64,
    normEpsilon = 1e-5,
  } = model;
  const { attentionScale, window } = model;
  const { subNorms, headNorms, postNorms } = architectureOf(architecture);
  const tensors: TensorIR[] = [];
  const tensor = (name: string, shape: readonly number[], encoding: Encoding) =>
    tensors.push({ name, shape, encoding, file: 0, offset: 4096 * tensors.length, bytes: 4096 });
  tensor('token_embd.weight', [vocab, embedding], embeddingEncoding);
  if (headEncoding) tensor('output.weight', [vocab, embedding], headEncoding);
  tensor('output_norm.weight', [embedding], 'f32');
  for (let layer = 0; layer < layers; layer++) {
    const norm = (name: string, size: number) => tensor(`blk.${layer}.${name}.weight`, [size], 'f32');
    const linear = (name: string, rows: number, cols: number) => {
      tensor(`blk.${layer}.${name}.weight`, [rows, cols], 'i2_s');
      if (scaleTensors) tensor(`blk.${layer}.${name}.scale`, [1], 'f32');
      if (inputNorms) norm(`${name}_norm_in`, cols);
    };
    norm('attn_norm', embedding);
    linear('attn_q', heads * headDim, embedding);
    linear('attn_k', kvHeads * headDim, embedding);
    linear('attn_v', kvHeads * headDim, embedding);
    if (subNorms) norm('attn_sub_norm', heads * headDim);
    linear('attn_output', embedding, heads * headDim);
    norm('ffn_norm', embedding);
    linear('ffn_gate', ffn, embedding);
    linear('ffn_up', ffn, embedding);
    if (subNorms) norm('ffn_sub_norm', ffn);
    linear('ffn_down', embedding, ffn);
    if (headNorms) for (const name of ['attn_q_norm', 'attn_k_norm']) norm(name, headDim);
    if (postNorms) for (const name of ['post_attention_norm', 'post_ffw_norm']) norm(name, embedding);
  }
  return {
    name: 'sketch',
    architecture,
    source: {
      path: '/nowhere/sketch.gguf',
      files: [{ path: '/nowhere/sketch.gguf', bytes: 4096 * tensors.length }],
      byteOrder: 'little',
    },
    hyper: {
      layers,
      embedding,
      ffn,
      heads,
      kvHeads,
      headDim,
      vocab,
      context,
      normEpsilon,
      activation: architectureOf(architecture).activation,
      rope: {
        dimensions: headDim,
        base: 10000,
        pairs: architectureOf(architecture).ropePairs,
        scaling: { kind: 'none' },
        ...rope,
      },
      ...(attentionScale && { attentionScale }),
      ...(window && { window }),
    },
    tensors,
    tokenizer: {
      model: 'gpt2',
      pre: 'default',
      tokens: ['a', 'b', '<s>', '</s>'],
      types: [1, 1, 3, 3],
      scores: [],
      merges: [],
      bos: 2,
      eos: 3,
      eot: null,
      unknown: null,
      padding: null,
      addBos: true,
      addEos: false,
      addSpacePrefix: false,
      chatTemplate: null,
    },
  };
}

/** With norms wherever there may be some, layers that attend to a window, and sizes that are no whole tiles. */
export const NORMS = sketch({
  architecture: 'gemma3',
  embedding: 72,
  ffn: 90,
  headDim: 24,
  inputNorms: true,
  window: { positions: 20, local: [true, false], ropeBase: 100 },
});
