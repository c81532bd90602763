import { BitnetError } from '../../errors.ts';
import type { Architecture } from '../models/index.ts';
import { type ModelIR, TERNARY, type TensorIR } from './model.ts';

/** What a model must hold: a tensor's name, its shape, and whether its weights must be ternary. */
interface Expected {
  readonly name: string;
  readonly shape: readonly number[];
  readonly ternary: boolean;
  readonly optional?: boolean;
}

/** The projections of one layer: GGUF name, rows and columns. */
export function layerLinears(ir: ModelIR): { name: string; rows: number; cols: number }[] {
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

function expectedTensors(ir: ModelIR, architecture: Architecture): Expected[] {
  const { layers, embedding, ffn, heads, headDim, vocab, rope } = ir.hyper;
  const vector = (name: string, size: number): Expected => ({ name, shape: [size], ternary: false });
  const expected: Expected[] = [
    { name: 'token_embd.weight', shape: [vocab, embedding], ternary: false },
    { name: 'output.weight', shape: [vocab, embedding], ternary: false, optional: true },
    vector('output_norm.weight', embedding),
    { ...vector('rope_freqs.weight', rope.dimensions / 2), optional: true },
  ];
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `blk.${layer}.`;
    expected.push(vector(`${prefix}attn_norm.weight`, embedding), vector(`${prefix}ffn_norm.weight`, embedding));
    if (architecture.subNorms) {
      expected.push(
        vector(`${prefix}attn_sub_norm.weight`, heads * headDim),
        vector(`${prefix}ffn_sub_norm.weight`, ffn),
      );
    }
    for (const { name, rows, cols } of layerLinears(ir)) {
      expected.push({ name: `${prefix}${name}.weight`, shape: [rows, cols], ternary: true });
      expected.push({ ...vector(`${prefix}${name}.scale`, 1), optional: true });
    }
  }
  return expected;
}

function checkTensor(tensor: TensorIR, expected: Expected, architecture: string): void {
  const shape = `[${tensor.shape.join(' × ')}]`;
  if (tensor.shape.join() !== expected.shape.join()) {
    throw new BitnetError(`tensor ${tensor.name} has shape ${shape}, but [${expected.shape.join(' × ')}] is expected`, {
      hint: `the hyper-parameters of a '${architecture}' model ask for that shape; the file may be damaged or mislabelled`,
    });
  }
  if (expected.ternary && !TERNARY.has(tensor.encoding)) {
    throw new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}, but ternary weights are expected`, {
      hint: `ternary types that can be read: ${[...TERNARY].join(', ')}`,
    });
  }
  if (!expected.ternary && TERNARY.has(tensor.encoding)) {
    throw new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}, where a float type is expected`);
  }
  if (
    expected.shape.length === 1 &&
    tensor.encoding !== 'f32' &&
    tensor.encoding !== 'f16' &&
    tensor.encoding !== 'bf16'
  ) {
    throw new BitnetError(`tensor ${tensor.name} is stored as ${tensor.encoding}; vectors must be f32, f16 or bf16`);
  }
}

/**
 * Checks that a model holds exactly the tensors that its architecture computes with, in the right shapes.
 * A tensor that would be ignored is an error too: the answer would be wrong without a word.
 */
export function verifyModel(ir: ModelIR, architecture: Architecture): void {
  const present = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  for (const expected of expectedTensors(ir, architecture)) {
    const tensor = present.get(expected.name);
    present.delete(expected.name);
    if (tensor) checkTensor(tensor, expected, architecture.id);
    else if (!expected.optional) {
      throw new BitnetError(`tensor ${expected.name} is missing`, {
        hint: `a '${architecture.id}' model with ${ir.hyper.layers} layers needs it; the file may be cut off or mislabelled`,
      });
    }
  }
  const [extra] = present.keys();
  if (extra !== undefined) {
    throw new BitnetError(`tensor ${extra} is not part of architecture '${architecture.id}'`, {
      hint: 'the model computes something this compiler would leave out; it is refused rather than run wrong',
    });
  }
}
