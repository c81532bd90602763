import { BitnetError } from '../../errors.ts';
import { encodedBytes } from '../import/encodings/index.ts';
import type { ModelIR } from '../ir/model.ts';
import { type PackedTensor, type Part, type Plan, pad16, pad64, type ScreenBits, type Step } from '../ir/plan.ts';
import { layerLinears } from '../ir/verify.ts';
import { t16 } from '../kernels/bitlinear-t16.ts';
import { headTiles, tiledBytes } from '../kernels/head-tiles.ts';
import { layoutOf } from '../kernels/index.ts';
import { packedBytes } from '../kernels/layout.ts';
import { SCREEN_COLUMNS, screenBytes } from '../kernels/screen.ts';
import type { Table } from './choose-head.ts';
import { MATRICES, type Steps } from './lower.ts';

type BitLinear = Extract<Step, { op: 'bitlinear' }>;

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

/** The norms that a step of a layer computes. */
function normsOf(step: Step): string[] {
  switch (step.op) {
    case 'norm':
    case 'norm_quantise':
    case 'gated_quantise':
      return step.norm === null ? [] : [step.norm];
    case 'rope_store':
      return [step.queryNorm, step.keyNorm].filter((norm) => norm !== null);
    default:
      return [];
  }
}

/** Heads of fewer bytes are nearly free: caches hold them. */
const SCREENED_BYTES = 32 << 20;

/** The coarse copy of a head, as wide as was asked for or else as pays; none where that is 0 bits. */
function coarseCopyOf(head: Unplaced, asked: 0 | ScreenBits | undefined): Unplaced[] {
  if (head.kind !== 'rows') throw new Error(`packed tensor '${head.name}' is not a table`);
  const { tensor, encoding, rows, cols } = head;
  const pays = head.bytes >= SCREENED_BYTES && screenBytes(rows, cols, 4) < 0.8 * head.bytes;
  const bits = asked ?? (pays && cols <= SCREEN_COLUMNS ? 5 : 0);
  if (bits === 0) return [];
  if (cols > SCREEN_COLUMNS) {
    throw new BitnetError(`a head of ${cols} columns cannot be screened`, {
      hint: `${SCREEN_COLUMNS} are the most: compile without the option screen`,
    });
  }
  return [{ name: 'screen', kind: 'screen', tensor, encoding, bits, rows, cols, bytes: screenBytes(rows, cols, bits) }];
}

/** Lays out the packed weights in the order in which a step reads them: tables first, then layer by layer. */
export function layoutWeights(
  ir: ModelIR,
  { layer: steps }: Steps,
  tables: readonly Table[],
  screen?: 0 | ScreenBits,
): Plan['weights'] {
  const byName = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  const onGpu = steps.some((step) => step.op === 'bitlinear' && step.layout === t16.id);
  const vector = (name: string, tensor: string, size: number): Unplaced => ({
    name,
    kind: 'vector',
    tensor,
    size,
    bytes: 4 * pad16(size),
  });
  const table = ({ shape, ...known }: Table): Unplaced => {
    const [rows, cols] = shape;
    const tiles = onGpu && known.name === tables.at(-1)!.name ? headTiles(known.encoding, cols) : undefined;
    if (tiles) return { ...known, kind: 'rows', tiled: true, rows, cols, bytes: tiledBytes(tiles, rows, cols) };
    return { ...known, kind: 'rows', rows, cols, bytes: encodedBytes(known.encoding, shape) };
  };

  const { layers, embedding } = ir.hyper;
  const linears = layerLinears(ir);
  const matrix = ({ use, layout: id, gate }: BitLinear): Unplaced[] => {
    const layout = layoutOf(id);
    let rows = 0;
    const parts = MATRICES[use].map((name): Part => {
      const linear = linears.find((candidate) => candidate.name === name)!;
      // One layer's scale tensor makes it part of every layer: a model that has some only is refused when it is packed.
      const scaled = Array.from({ length: layers }, (_, i) => `blk.${i}.${name}.scale`).some((at) => byName.has(at));
      const scaleTensor = scaled ? `${name}.scale` : null;
      const part = { tensor: `${name}.weight`, scaleTensor, rows: linear.rows, firstRow: rows };
      rows += pad16(linear.rows);
      return part;
    });
    const cols = linears.find((candidate) => candidate.name === MATRICES[use][0])!.cols;
    const groups = rows / (layout.scaleRows ?? 16);
    const woven = gate === undefined ? {} : { woven: true };
    return [
      { name: `${use}_scales`, kind: 'scales', of: use, groups, bytes: 4 * groups },
      { name: use, kind: 'codes', layout: id, parts, ...woven, rows, cols, bytes: packedBytes(layout, rows, cols) },
    ];
  };

  const rows = tables.map(table);
  const shared = place([
    ...rows,
    ...coarseCopyOf(rows.at(-1)!, screen),
    vector('output_norm', 'output_norm.weight', embedding),
  ]);
  const norm = (name: string) => vector(name, `${name}.weight`, byName.get(`blk.0.${name}.weight`)!.shape[0]);
  const layer = place(steps.flatMap((step) => (step.op === 'bitlinear' ? matrix(step) : normsOf(step).map(norm))));
  const layouts = steps.flatMap((step) => (step.op === 'bitlinear' ? [step.layout] : []));
  return {
    layout: [...new Set(layouts)].join('+'),
    shared: shared.tensors,
    layer: layer.tensors,
    layerBase: shared.bytes,
    layerBytes: layer.bytes,
    bytes: shared.bytes + ir.hyper.layers * layer.bytes,
  };
}
