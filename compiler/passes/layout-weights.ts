import { encodedBytes } from '../import/encodings/index.ts';
import type { ModelIR } from '../ir/model.ts';
import { type PackedTensor, type Part, type Plan, pad16, pad64 } from '../ir/plan.ts';
import { layerLinears } from '../ir/verify.ts';
import { LAYOUT } from '../kernels/bitlinear-i2.ts';
import type { Architecture } from '../models/index.ts';
import { FUSED } from './lower.ts';

/** A packed tensor whose place is not decided. */
type Unplaced = PackedTensor extends infer T ? (T extends PackedTensor ? Omit<T, 'offset'> : never) : never;

function place(tensors: readonly Unplaced[]): { tensors: PackedTensor[]; bytes: number } {
  let offset = 0;
  const placed = tensors.map((tensor) => {
    const at = offset;
    offset += pad64(tensor.bytes);
    return { ...tensor, offset: at } as PackedTensor;
  });
  return { tensors: placed, bytes: offset };
}

/** Lays out the packed weights in the order in which a step reads them: tables first, then layer by layer. */
export function layoutWeights(ir: ModelIR, architecture: Architecture): Plan['weights'] {
  const byName = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  const vector = (name: string, tensor: string, size: number): Unplaced => ({
    name,
    kind: 'vector',
    tensor,
    size,
    bytes: 4 * pad16(size),
  });
  const table = (name: string, tensor: string): Unplaced => {
    const { encoding, shape } = byName.get(tensor)!;
    const [rows, cols] = shape;
    return { name, kind: 'rows', tensor, encoding, rows, cols, bytes: encodedBytes(encoding, rows * cols) };
  };

  const { layers, embedding, ffn, heads, headDim } = ir.hyper;
  const linears = layerLinears(ir);
  const matrix = (use: string): Unplaced[] => {
    let rows = 0;
    const parts = FUSED[use].map((name): Part => {
      const linear = linears.find((candidate) => candidate.name === name)!;
      // One layer's scale tensor makes it part of every layer: a model that has some only is refused when it is packed.
      const scaled = Array.from({ length: layers }, (_, i) => `blk.${i}.${name}.scale`).some((at) => byName.has(at));
      const scaleTensor = scaled ? `${name}.scale` : null;
      const part = { tensor: `${name}.weight`, scaleTensor, rows: linear.rows, firstRow: rows };
      rows += pad16(linear.rows);
      return part;
    });
    const cols = linears.find((candidate) => candidate.name === FUSED[use][0])!.cols;
    return [
      { name: `${use}_scales`, kind: 'scales', of: use, groups: rows / 16, bytes: rows / 4 },
      { name: use, kind: 'codes', parts, rows, cols, bytes: (rows * pad16(cols)) / 4 },
    ];
  };

  const tied = !byName.has('output.weight');
  const shared = place([
    table('embedding', 'token_embd.weight'),
    ...(tied ? [] : [table('head', 'output.weight')]),
    vector('output_norm', 'output_norm.weight', embedding),
  ]);
  const norm = (name: string, size: number) => vector(name, `${name}.weight`, size);
  const layer = place([
    norm('attn_norm', embedding),
    ...matrix('qkv'),
    ...(architecture.subNorms ? [norm('attn_sub_norm', heads * headDim)] : []),
    ...matrix('attn_output'),
    norm('ffn_norm', embedding),
    ...matrix('gate_up'),
    ...(architecture.subNorms ? [norm('ffn_sub_norm', ffn)] : []),
    ...matrix('down'),
  ]);
  return {
    layout: LAYOUT,
    shared: shared.tensors,
    layer: layer.tensors,
    layerBase: shared.bytes,
    layerBytes: layer.bytes,
    bytes: shared.bytes + ir.hyper.layers * layer.bytes,
  };
}
