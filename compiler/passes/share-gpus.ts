import { BitnetError } from '../../errors.ts';
import type { Buffer, PackedTensor, Plan, Step } from '../ir/plan.ts';
import { pad64 } from '../ir/plan.ts';

/** The most GPUs that share a model. */
export const MAX_GPUS = 8;

/** What of the weights file a GPU has: `bytes` from `from` + its number * `step` on go to `to`. */
export interface Slice {
  readonly from: number;
  readonly step: number;
  readonly to: number;
  readonly bytes: number;
}

/** What each of some GPUs that share a model computes, and has of the weights. */
export interface Share {
  readonly gpus: number;
  /** Its steps and weights: rows of matrices, heads. Sizes of what it reads whole are the model's. */
  readonly plan: Plan;
  /** Buffers of which each GPU writes a part of every row, and reads all: they are gathered once they are written. */
  readonly gathered: ReadonlySet<string>;
  /** Of each layer, counted from its start. What is not of a layer every GPU has whole. */
  readonly slices: readonly Slice[];
  /** Bytes of a layer in the weights file. */
  readonly fileLayerBytes: number;
  /** KV heads of the model, however many of them are this GPU's. */
  readonly kvHeads: number;
}

/** How many GPUs were asked for. Throws a BitnetError for a number that cannot be. */
export function checkGpus(gpus = 1): number {
  if (Number.isInteger(gpus) && gpus >= 1 && gpus <= MAX_GPUS) return gpus;
  throw new BitnetError(`option gpus is ${gpus}, it must be a whole number from 1 to ${MAX_GPUS}`);
}

const ATTENTION: ReadonlySet<string> = new Set(['qkv', 'query', 'key', 'value']);

/**
 * Shares a plan among GPUs. Each computes some rows of every matrix from the whole input, so sums, norms and absolute maxima
 * are those of one GPU, bit for bit; what a matrix gave is gathered on all of them. Heads go with their rows, and with them
 * the KV cache; where KV heads do not come out even, every GPU attends with all. Embeddings and head are on every GPU: all
 * choose the same token, and nobody has to tell the others.
 *
 * Throws a BitnetError where rows do not come out even in sixteens.
 */
export function shareAmong(plan: Plan, gpus: number): Share {
  const { heads, kvHeads, headDim, embedding, ffn } = plan.hyper;
  const fileLayerBytes = plan.weights.layerBytes;
  if (gpus === 1) {
    const all = { from: 0, step: 0, to: 0, bytes: fileLayerBytes };
    return { gpus, plan, gathered: new Set(), slices: [all], fileLayerBytes, kvHeads };
  }
  for (const [what, size] of Object.entries({ embedding, 'feed-forward size': ffn })) {
    if (size % (16 * gpus) === 0) continue;
    throw new BitnetError(
      `${gpus} GPUs cannot share ${plan.name}: its ${what} of ${size} does not divide by 16 × ${gpus}`,
      {
        hint: 'compile it for fewer GPUs',
      },
    );
  }
  const even = heads % gpus === 0 && kvHeads % gpus === 0 && ((kvHeads / gpus) * headDim) % 16 === 0;
  const ways = (use: string): number => (even || !ATTENTION.has(use) ? gpus : 1);
  const layer = plan.layer.map((step): Step => {
    if (step.op !== 'bitlinear') return step;
    return { ...step, m: step.m / ways(step.use), row: step.row / ways(step.use) };
  });
  const { tensors, slices, bytes } = sharedWeights(plan.weights.layer, ways);
  const buffers = plan.buffers.map(
    (buffer): Buffer => (buffer.name === 'qkv' ? { ...buffer, bytes: buffer.bytes / ways('qkv') } : buffer),
  );
  const written = plan.layer.flatMap((step) =>
    step.op === 'bitlinear' && !ATTENTION.has(step.use)
      ? [step.out]
      : step.op === 'attention' && even
        ? [step.out]
        : [],
  );
  const { layerBase } = plan.weights;
  const weights = { ...plan.weights, layer: tensors, layerBytes: bytes, bytes: layerBase + plan.hyper.layers * bytes };
  const hyper = even ? { ...plan.hyper, heads: heads / gpus, kvHeads: kvHeads / gpus } : plan.hyper;
  const own = { ...plan, hyper, layer, buffers, weights };
  return { gpus, plan: own, gathered: new Set(written), slices, fileLayerBytes, kvHeads };
}

/** A layer's tensors as a GPU has them: of codes and scales the rows that are its own. */
function sharedWeights(layer: readonly PackedTensor[], ways: (use: string) => number) {
  const tensors: PackedTensor[] = [];
  const slices: Slice[] = [];
  let end = 0;
  for (const tensor of layer) {
    const codes = layer.find(({ name }) => name === (tensor.kind === 'scales' ? tensor.of : tensor.name));
    const n = codes?.kind === 'codes' ? ways(codes.name) : 1;
    if (codes?.kind === 'codes') {
      const rowBytes = tensor.bytes / codes.rows;
      for (const { first, rows } of stretchesOf(codes)) {
        const bytes = (rows / n) * rowBytes;
        slices.push({
          from: tensor.offset + first * rowBytes,
          step: n === 1 ? 0 : bytes,
          to: end + (first / n) * rowBytes,
          bytes,
        });
      }
    } else {
      slices.push({ from: tensor.offset, step: 0, to: end, bytes: tensor.bytes });
    }
    tensors.push(shareOf(tensor, end, n));
    end += pad64(tensor.bytes / n);
  }
  return { tensors, slices, bytes: end };
}

function shareOf(tensor: PackedTensor, offset: number, n: number): PackedTensor {
  const at = { offset, bytes: tensor.bytes / n };
  switch (tensor.kind) {
    case 'codes': {
      const parts = tensor.parts.map((part) => ({ ...part, rows: part.rows / n, firstRow: part.firstRow / n }));
      return { ...tensor, ...at, parts, rows: tensor.rows / n };
    }
    case 'scales':
      return { ...tensor, ...at, groups: tensor.groups / n };
    default:
      return { ...tensor, offset };
  }
}

/** Rows of a matrix of which each GPU has an equal share: those of each part, or all where the parts are woven. */
function stretchesOf({ parts, rows, woven }: Extract<PackedTensor, { kind: 'codes' }>) {
  if (woven) return [{ first: 0, rows }];
  return parts.map(({ firstRow }, i) => ({ first: firstRow, rows: (parts[i + 1]?.firstRow ?? rows) - firstRow }));
}

/** The first and the last row group of a matrix of which a GPU computes `rows` rows, by their numbers in the whole matrix. */
export function outerGroups(whole: Extract<PackedTensor, { kind: 'codes' }>, rows: number, gpu: number) {
  const n = whole.rows / rows;
  const stretches = stretchesOf(whole);
  const own = n === 1 ? 0 : gpu;
  const [first, last] = [stretches[0], stretches.at(-1)!];
  return [(first.first + own * (first.rows / n)) / 16, (last.first + (own + 1) * (last.rows / n)) / 16 - 1];
}
