import type { ModelIR } from '../ir/model.ts';
import type { Step } from '../ir/plan.ts';
import { pad16 } from '../ir/plan.ts';
import { hasInputNorms } from '../ir/verify.ts';
import { i2 } from '../kernels/bitlinear-i2.ts';
import type { Architecture } from '../models/index.ts';

/** The steps of a model, before anything is laid out in memory. */
export interface Steps {
  readonly prologue: readonly Step[];
  readonly layer: readonly Step[];
  readonly epilogue: readonly Step[];
}

/** A ternary matrix by its use, and the projections that it is made of: those that share their input are one matrix. */
export const MATRICES: Readonly<Record<string, readonly string[]>> = {
  qkv: ['attn_q', 'attn_k', 'attn_v'],
  query: ['attn_q'],
  key: ['attn_k'],
  value: ['attn_v'],
  attn_output: ['attn_output'],
  gate_up: ['ffn_gate', 'ffn_up'],
  gate: ['ffn_gate'],
  up: ['ffn_up'],
  down: ['ffn_down'],
};

/** Where the rows of a matrix go. */
interface Target {
  readonly out: string;
  readonly row?: number;
  readonly accumulate?: boolean;
}

/** Steps that multiply what is quantised in the buffers `q` and `quant`, or in those of a use of their own. */
function bitlinear(use: string, m: number, k: number, { out, row = 0, accumulate = false }: Target, prefix = ''): Step {
  const [q, quant] = quantised(prefix);
  return {
    op: 'bitlinear',
    use,
    codes: use,
    scales: `${use}_scales`,
    layout: i2.id,
    m,
    k,
    q,
    quant,
    out,
    row,
    accumulate,
  };
}

const quantised = (prefix: string) => [`${prefix}q`, `${prefix}quant`] as const;

/** Writes a model as an ordered list of operations over named buffers. */
export function lower(ir: ModelIR, architecture: Architecture): Steps {
  const { embedding } = ir.hyper;
  const localAngles = ir.hyper.window ? 'local_angles' : null;
  const scale = architecture.scaledEmbedding ? Math.fround(Math.sqrt(embedding)) : null;
  return {
    prologue: [{ op: 'embed', table: 'embedding', scale, out: 'x', angles: 'angles', localAngles }],
    layer: [...attention(ir, architecture, localAngles), ...feedForward(ir, architecture)],
    epilogue: [
      { op: 'final_norm', input: 'x', norm: 'output_norm', out: 'hidden' },
      { op: 'head', table: 'head', input: 'hidden' },
    ],
  };
}

function attention(ir: ModelIR, architecture: Architecture, localAngles: string | null): Step[] {
  const { embedding, heads, kvHeads, headDim, window } = ir.hyper;
  const size = heads * headDim;
  const [queries, keys] = [pad16(size), pad16(kvHeads * headDim)];
  const inputNorms = hasInputNorms(ir);
  const [q, quant] = quantised('');
  const project: Step[] = inputNorms
    ? separately('attn_norm', embedding, 'qkv', [
        { use: 'query', norm: 'attn_q_norm_in', m: queries, row: 0 },
        { use: 'key', norm: 'attn_k_norm_in', m: keys, row: queries },
        { use: 'value', norm: 'attn_v_norm_in', m: keys, row: queries + keys },
      ])
    : [
        { op: 'norm_quantise', input: 'x', norm: 'attn_norm', size: embedding, q, quant },
        bitlinear('qkv', queries + 2 * keys, embedding, { out: 'qkv' }),
      ];
  const headNorm = (name: string) => (architecture.headNorms ? name : null);
  const outputNorm = inputNorms ? 'attn_output_norm_in' : architecture.subNorms ? 'attn_sub_norm' : null;
  return [
    ...project,
    {
      op: 'rope_store',
      qkv: 'qkv',
      queryNorm: headNorm('attn_q_norm'),
      keyNorm: headNorm('attn_k_norm'),
      angles: 'angles',
      localAngles,
    },
    { op: 'attention', qkv: 'qkv', window: window?.positions ?? null, out: 'attended' },
    { op: 'norm_quantise', input: 'attended', norm: outputNorm, size, q, quant },
    ...addToResidual('attn_output', embedding, size, architecture.postNorms ? 'post_attention_norm' : null),
  ];
}

function feedForward(ir: ModelIR, architecture: Architecture): Step[] {
  const { embedding, ffn, activation } = ir.hyper;
  const inputNorms = hasInputNorms(ir);
  const [q, quant] = quantised('');
  const project: Step[] = inputNorms
    ? separately('ffn_norm', embedding, 'gate_up', [
        { use: 'gate', norm: 'ffn_gate_norm_in', m: pad16(ffn), row: 0 },
        { use: 'up', norm: 'ffn_up_norm_in', m: pad16(ffn), row: pad16(ffn) },
      ])
    : [
        { op: 'norm_quantise', input: 'x', norm: 'ffn_norm', size: embedding, q, quant },
        bitlinear('gate_up', 2 * pad16(ffn), embedding, { out: 'gate_up' }),
      ];
  const norm = inputNorms ? 'ffn_down_norm_in' : architecture.subNorms ? 'ffn_sub_norm' : null;
  return [
    ...project,
    { op: 'gated_quantise', input: 'gate_up', norm, size: ffn, activation, q, quant },
    ...addToResidual('down', embedding, ffn, architecture.postNorms ? 'post_ffw_norm' : null),
  ];
}

interface Projection {
  readonly use: string;
  readonly norm: string;
  readonly m: number;
  readonly row: number;
}

/** Projections that share a norm, and norm and quantise its result each in their own way. */
function separately(shared: string, size: number, out: string, projections: readonly Projection[]): Step[] {
  return [
    { op: 'norm', input: 'x', norm: shared, size, out: 'normed', accumulate: false },
    ...projections.map(({ use, norm }): Step => {
      const [q, quant] = quantised(`${use}_`);
      return { op: 'norm_quantise', input: 'normed', norm, size, q, quant };
    }),
    ...projections.map(({ use, m, row }) => bitlinear(use, m, size, { out, row }, `${use}_`)),
  ];
}

/** The matrix that ends a part of a layer, and its norm where there is one. */
function addToResidual(use: string, embedding: number, k: number, norm: string | null): Step[] {
  const m = pad16(embedding);
  if (norm === null) return [bitlinear(use, m, k, { out: 'x', accumulate: true })];
  return [
    bitlinear(use, m, k, { out: 'projected' }),
    { op: 'norm', input: 'projected', norm, size: embedding, out: 'x', accumulate: true },
  ];
}
