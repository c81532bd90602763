import { BitnetError } from '../../errors.ts';
import { isMatrix, isTernary } from '../import/encodings/index.ts';
import type { Architecture } from '../models/index.ts';
import type { ModelIR, TensorIR } from './model.ts';

/** What a model must hold: a tensor's name, its shape, and whether its weights must be ternary. */
interface Expected {
  readonly name: string;
  readonly shape: readonly number[];
  readonly ternary: boolean;
  readonly optional?: boolean;
  /** What to say where it is missing, instead of the usual. */
  readonly hint?: string;
}

/** The projections of one layer: GGUF name, rows and columns. */
export function layerLinears(ir: Pick<ModelIR, 'hyper'>): { name: string; rows: number; cols: number }[] {
  const { embedding, ffn, heads, kvHeads, headDim } = ir.hyper;
  return [
    { name: 'attn_q', rows: heads * headDim, cols: embedding },
    { name: 'attn_k', rows: kvHeads * headDim, cols: embedding },
    { name: 'attn_v', rows: kvHeads * headDim, cols: embedding },
    { name: 'attn_output', rows: embedding, cols: heads * headDim },
    { name: 'ffn_gate', rows: ffn, cols: embedding },
    { name: 'ffn_up', rows: ffn, cols: embedding },
    { name: 'ffn_down', rows: embedding, cols: ffn },
  ];
}

/** Whether a model has norms before its projections: at least one of them. */
export function hasInputNorms(ir: ModelIR): boolean {
  return ir.tensors.some(({ name }) => name.endsWith('_norm_in.weight'));
}

/** The RMS norms of one layer: GGUF name and size. */
function layerNorms(ir: ModelIR, architecture: Architecture): { name: string; size: number; hint?: string }[] {
  const { embedding, ffn, heads, headDim } = ir.hyper;
  const norms: { name: string; size: number; hint?: string }[] = [
    { name: 'attn_norm', size: embedding },
    { name: 'ffn_norm', size: embedding },
  ];
  if (architecture.subNorms) {
    norms.push({ name: 'attn_sub_norm', size: heads * headDim }, { name: 'ffn_sub_norm', size: ffn });
  }
  if (architecture.headNorms) {
    norms.push({ name: 'attn_q_norm', size: headDim }, { name: 'attn_k_norm', size: headDim });
  }
  if (architecture.postNorms) {
    norms.push({ name: 'post_attention_norm', size: embedding }, { name: 'post_ffw_norm', size: embedding });
  }
  if (architecture.inputNorms && hasInputNorms(ir)) {
    const hint = 'a model has a norm before every projection of every layer, or before none';
    norms.push(...layerLinears(ir).map(({ name, cols }) => ({ name: `${name}_norm_in`, size: cols, hint })));
  }
  return norms;
}

function expectedTensors(ir: ModelIR, architecture: Architecture): Expected[] {
  const { layers, embedding, vocab, rope } = ir.hyper;
  const vector = (name: string, size: number): Expected => ({ name, shape: [size], ternary: false });
  const expected: Expected[] = [
    { name: 'token_embd.weight', shape: [vocab, embedding], ternary: false },
    { name: 'output.weight', shape: [vocab, embedding], ternary: false, optional: true },
    vector('output_norm.weight', embedding),
    { ...vector('rope_freqs.weight', rope.dimensions / 2), optional: true },
  ];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `blk.${layer}.`;
    for (const { name, size, hint } of layerNorms(ir, architecture)) {
      expected.push({ ...vector(`${prefix}${name}.weight`, size), hint });
    }
    for (const { name, rows, cols } of layerLinears(ir)) {
      expected.push({ name: `${prefix}${name}.weight`, shape: [rows, cols], ternary: true });
      expected.push({ ...vector(`${prefix}${name}.scale`, 1), optional: true });
    }
  }
  return expected;
}

function* tensorFaults(tensor: TensorIR, expected: Expected, architecture: string): Generator<BitnetError> {
  const shape = `[${tensor.shape.join(' × ')}]`;
  if (tensor.shape.join() !== expected.shape.join()) {
    yield new BitnetError(`tensor ${tensor.name} has shape ${shape}, but [${expected.shape.join(' × ')}] is expected`, {
      hint: `the hyper-parameters of a '${architecture}' model ask for that shape; the file may be damaged or mislabelled`,
    });
  }
  if (expected.ternary && !isMatrix(tensor)) {
    yield new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}, but ternary weights are expected`, {
      hint: 'Ternary types are read, and f32, f16 and bf16 masters are quantised; other types have lost what that needs.',
    });
  }
  if (!expected.ternary && isTernary(tensor.encoding)) {
    yield new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}, where a float type is expected`);
  }
  if (
    expected.shape.length === 1 &&
    tensor.encoding !== 'f32' &&
    tensor.encoding !== 'f16' &&
    tensor.encoding !== 'bf16'
  ) {
    yield new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}; vectors must be f32, f16 or bf16`);
  }
}

/**
 * Checks that a model holds exactly the tensors that its architecture computes with, in the right shapes.
 * A tensor that would be ignored is an error too: the answer would be wrong without a word.
 */
export function verifyModel(ir: ModelIR, architecture: Architecture): void {
  for (const fault of modelFaults(ir, architecture)) throw fault;
}

/** All that `verifyModel` finds wrong. */
export function* modelFaults(ir: ModelIR, architecture: Architecture): Generator<BitnetError> {
  const present = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  for (const expected of expectedTensors(ir, architecture)) {
    const tensor = present.get(expected.name);
    present.delete(expected.name);
    if (tensor) yield* tensorFaults(tensor, expected, architecture.id);
    else if (!expected.optional) {
      yield new BitnetError(`tensor ${expected.name} is missing`, {
        hint:
          expected.hint ??
          `a '${architecture.id}' model with ${ir.hyper.layers} layers needs it; the file may be cut off or mislabelled`,
      });
    }
  }
  for (const extra of present.keys()) {
    yield new BitnetError(`tensor ${extra} is not part of architecture '${architecture.id}'`, {
      hint: 'the model computes something this compiler would leave out; it is refused rather than run wrong',
    });
  }
}
