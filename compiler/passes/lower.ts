import type { ModelIR } from '../ir/model.ts';
import type { Step } from '../ir/plan.ts';
import { pad16 } from '../ir/plan.ts';
import type { Architecture } from '../models/index.ts';

/** The steps of a model, before anything is laid out in memory. */
export interface Steps {
  readonly prologue: readonly Step[];
  readonly layer: readonly Step[];
  readonly epilogue: readonly Step[];
}

/** A projection or several that share their input, fused into one matrix: parts are padded to whole row groups. */
export const FUSED: Readonly<Record<string, readonly string[]>> = {
  qkv: ['attn_q', 'attn_k', 'attn_v'],
  attn_output: ['attn_output'],
  gate_up: ['ffn_gate', 'ffn_up'],
  down: ['ffn_down'],
};

/** Writes a model as an ordered list of operations over named buffers. */
export function lower(ir: ModelIR, architecture: Architecture): Steps {
  const { embedding, ffn, heads, kvHeads, headDim } = ir.hyper;
  const attention = heads * headDim;
  const bitlinear = (use: string, m: number, k: number, out: string, accumulate = false): Step => ({
    op: 'bitlinear',
    use,
    codes: use,
    scales: `${use}_scales`,
    m,
    k,
    out,
    accumulate,
  });
  return {
    prologue: [{ op: 'embed', table: 'embedding', out: 'x', angles: 'angles' }],
    layer: [
      { op: 'norm_quantise', input: 'x', norm: 'attn_norm', size: embedding },
      bitlinear('qkv', pad16(attention) + 2 * pad16(kvHeads * headDim), embedding, 'qkv'),
      { op: 'rope_store', qkv: 'qkv', angles: 'angles' },
      { op: 'attention', qkv: 'qkv', out: 'attended' },
      { op: 'norm_quantise', input: 'attended', norm: architecture.subNorms ? 'attn_sub_norm' : null, size: attention },
      bitlinear('attn_output', pad16(embedding), attention, 'x', true),
      { op: 'norm_quantise', input: 'x', norm: 'ffn_norm', size: embedding },
      bitlinear('gate_up', 2 * pad16(ffn), embedding, 'gate_up'),
      {
        op: 'gated_quantise',
        input: 'gate_up',
        norm: architecture.subNorms ? 'ffn_sub_norm' : null,
        size: ffn,
        activation: architecture.activation,
      },
      bitlinear('down', pad16(embedding), ffn, 'x', true),
    ],
    epilogue: [
      { op: 'final_norm', input: 'x', norm: 'output_norm', out: 'hidden' },
      { op: 'head', table: 'head', input: 'hidden' },
    ],
  };
}
