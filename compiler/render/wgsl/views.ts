import type { PackedTensor, Plan, Step } from '../../ir/plan.ts';
import { pad16 } from '../../ir/plan.ts';
import { TILE_COLUMNS } from '../../kernels/bitlinear-t16.ts';
import { headTiles } from '../../kernels/head-tiles.ts';
import { padTile } from '../../passes/for-gpu.ts';
import { headTable } from '../views.ts';

export type BitLinear = Extract<Step, { op: 'bitlinear' }>;
export type Quantising = Extract<Step, { op: 'norm_quantise' | 'gated_quantise' }>;

/** Threads of the workgroups that work on rows and on ternary matrices: the most that every adapter has. */
export const THREADS = 256;
/** Of which so many share a tile. */
const LANES = 32;
/** Positions that attention takes at a time, and threads that do. */
export const RUN = 64;
/** The most groups of threads that add up values one after the other, where a step has one token. */
const MIXERS = 8;
/** Positions that a thread scores at once, where a step has many tokens. */
const POSITIONS = 4;
/** Loads of values that a thread of attention has on their way at once; they divide RUN. */
const VALUES_AHEAD = 16;
/** Longest contexts that attention takes whole, in the CPU's order. */
export const WHOLE = 256;
/** The widest rows that GEMVs norm and quantise for themselves: as int8, they have room in the least workgroup memory. */
const FUSED_COLUMNS = 12288;
/** Rows of which squares are added up in the CPU's order. */
const SHORT = 2048;
/** Workgroups that fill a large GPU: more of them share the columns of a row block no further. */
const WORKGROUPS = 256;

/** A float32 as WGSL writes it. */
export function wgslFloat(value: number): string {
  const text = Math.fround(value).toString();
  return /[.e]/.test(text) ? text : `${text}.0`;
}

const quads = (floats: number, what: string): number => {
  if (floats % 4 !== 0) throw new Error(`${what} is ${floats} floats, which are no whole quads`);
  return floats / 4;
};

/** All that the templates need of a plan. */
export class WgslViews {
  readonly plan: Plan;
  readonly workgroups: number;

  constructor(plan: Plan, workgroups: number = WORKGROUPS) {
    this.plan = plan;
    this.workgroups = workgroups;
  }

  /** Floats from one token to the next. */
  stride(buffer: string): number {
    const found = this.plan.buffers.find(({ name }) => name === buffer);
    if (!found) throw new Error(`the plan has no buffer '${buffer}'`);
    return found.bytes / 4;
  }

  tensor(of: 'shared' | 'layer', name: string): PackedTensor {
    const found = this.plan.weights[of].find((tensor) => tensor.name === name);
    if (!found) throw new Error(`the plan has no packed tensor '${name}'`);
    return found;
  }

  /** What kernels that norm and quantise a row need. */
  row(input: string, size: number, norm: string | null) {
    const groups = padTile(size) / 16;
    return {
      threads: THREADS,
      size,
      quads: Math.ceil(size / 4),
      padded: pad16(size) / 4,
      ragged: size % 4 !== 0,
      groups,
      per: Math.ceil(groups / THREADS),
      norm: norm !== null,
      short: size <= SHORT,
      epsilon: wgslFloat(this.plan.hyper.normEpsilon),
      strideQuads: quads(this.stride(input), input),
      gate: false,
      exponential: false,
      silu: false,
      gelu: false,
      relu2: false,
    };
  }

  quantising(step: Quantising) {
    const view = this.row(step.input, step.size, step.norm);
    const of = step.norm ?? step.input;
    if (step.op === 'norm_quantise') return { ...view, title: `${of}, as int8: a workgroup a token.` };
    return {
      ...view,
      ...gateOf(step.activation),
      title: `${of} of ${step.activation}(gate) * up, as int8: a workgroup a token.`,
      gate: true,
      upQuads: quads(pad16(step.size), 'up'),
    };
  }

  /** The step that quantises what a matrix multiplies: the last one before it that writes there. */
  quantiserOf(matrix: BitLinear): Quantising {
    const before = this.plan.layer.slice(0, this.plan.layer.indexOf(matrix));
    const step = before.findLast((other) => 'q' in other && other.op !== 'bitlinear' && other.q === matrix.q);
    if (step?.op !== 'norm_quantise' && step?.op !== 'gated_quantise') throw new Error(`nothing feeds ${matrix.use}`);
    return step;
  }

  /** Whether the GEMVs for one token that read what a step quantises do that for themselves. */
  fuses(step: Step): boolean {
    return (step.op === 'norm_quantise' || step.op === 'gated_quantise') && step.size <= FUSED_COLUMNS;
  }

  /** What is common to the kernels of a ternary matrix. */
  matrix(step: BitLinear) {
    const { use, m, k, gate, accumulate, row } = step;
    const activation = gate !== undefined;
    const product = accumulate ? 'y += W q' : 'y = W q';
    return {
      name: use,
      m,
      k,
      blocks: m / 16,
      tiles: padTile(k) / TILE_COLUMNS,
      activation,
      ...gateOf(gate),
      outStride: this.stride(step.out),
      outRow: row === 0 ? '' : `${row}u + `,
      accumulate,
      exact: activation || accumulate,
      maths: `${activation ? `y = ${gate}(G q) * (U q), whose rows are woven by eights` : product}, q being int8.`,
    };
  }

  /** The kernel for `tokens` tokens; one that is for one may norm and quantise them itself. */
  gemv(step: BitLinear, tokens: number, fused: boolean) {
    const matrix = this.matrix(step);
    const quantiser = this.quantiserOf(step);
    const split = splitOf(matrix.blocks, this.workgroups);
    const mine = THREADS / LANES / split;
    const rows = 16 * mine;
    const input = fused ? this.quantising(quantiser) : this.row(quantiser.input, quantiser.size, null);
    const gates = { exponential: false, silu: false, gelu: false, relu2: false };
    if (fused && input.gate && matrix.activation) throw new Error(`${step.use} has gates before it and behind it`);
    return {
      ...input,
      ...matrix,
      ...(fused && input.gate ? { ...gateFlags(input) } : matrix.activation ? gateFlags(matrix) : gates),
      gating: matrix.activation || (fused && input.gate),
      tokens,
      fused,
      split,
      mine,
      several: mine > 1,
      steps: Math.ceil(matrix.tiles / split),
      rows,
      halfRows: rows / 2,
      sums: rows * tokens,
      halfSums: (rows * tokens) / 2,
    };
  }

  attention() {
    const { heads, kvHeads, headDim, attentionScale = 1 / Math.sqrt(headDim) } = this.plan.hyper;
    return {
      threads: RUN,
      run: RUN,
      whole: WHOLE,
      heads,
      kvHeads,
      sharing: heads / kvHeads,
      dim: headDim,
      pairs: headDim / 2,
      pairsPer: Math.ceil(headDim / 2 / RUN),
      keysAhead: keysAhead(headDim, 4),
      valuesAhead: VALUES_AHEAD,
      stride: this.stride('qkv'),
      key: pad16(heads * headDim),
      value: pad16(heads * headDim) + pad16(kvHeads * headDim),
      scale: wgslFloat(attentionScale),
      windowed: this.plan.hyper.window !== undefined,
      epsilon: wgslFloat(this.plan.hyper.normEpsilon),
      exponential: true,
      silu: false,
      gelu: false,
      relu2: false,
    };
  }

  /**
   * Whether a step of one token rotates where it attends, and several that follow each other share what they read: a workgroup
   * has a thread for each pair of dimensions, and room for them.
   */
  get attendsAtOnce(): boolean {
    return this.plan.hyper.headDim / 2 <= THREADS;
  }

  /** Attention of one token over as many positions at a time as contexts may have that are taken whole. */
  attentionOfOne() {
    const view = this.attention();
    const mixers = Math.min(MIXERS, Math.floor(THREADS / view.pairs));
    return { ...view, threads: WHOLE, run: WHOLE, mixers, keysAhead: keysAhead(view.dim, 8) };
  }

  /** Attention of tokens that follow each other: as many at once as leave their weights room in the least workgroup memory. */
  attentionOfMany() {
    const view = this.attention();
    const queries = view.dim <= 128 ? 8 : 4;
    const room = WHOLE + queries - 1;
    return { ...view, threads: 16 * queries, queries, block: WHOLE, room, room16: pad16(room), positions: POSITIONS };
  }

  /** How heads rotate. */
  rotation(step: Extract<Step, { op: 'rope_store' }>) {
    const { hyper, ropeFrequencies } = this.plan;
    return {
      norms: step.queryNorm !== null,
      turning: ropeFrequencies.length,
      interleaved: hyper.rope.pairs === 'interleaved',
    };
  }

  /** A table of rows, which need not be what the head's kernels are made for. */
  table(tensor: PackedTensor) {
    if (tensor.kind !== 'rows') throw new Error(`packed tensor '${tensor.name}' is not a table`);
    const { encoding, rows, cols, tiled = false } = tensor;
    const decode = `partials/${tiled ? 'tiles' : 'table'}_${encoding}`;
    return { rows, cols, tiled, encoding, decode, bytes: encoding.startsWith('q') };
  }

  head(tokens: number) {
    const table = this.table(headTable(this.plan));
    const { encoding, cols, tiled } = table;
    const groupBytes = tiled ? headTiles(encoding, cols)!.groupBytes : 0;
    return {
      ...table,
      tokens,
      several: tokens > 1,
      partials: 256 * tokens,
      outputs: 128 * tokens,
      stride: this.stride('hidden'),
      groups: cols / TILE_COLUMNS,
      groupBytes,
      groupQuads: groupBytes / 16,
      words: { f16: 8, q8_0: 4, q6_k: 3 }[encoding as string] ?? 0,
      f16: encoding === 'f16',
      q8_0: encoding === 'q8_0',
      q6_k: encoding === 'q6_k',
    };
  }
}

interface GateFlags {
  readonly exponential: boolean;
  readonly silu: boolean;
  readonly gelu: boolean;
  readonly relu2: boolean;
}

const gateFlags = ({ exponential, silu, gelu, relu2 }: GateFlags): GateFlags => ({ exponential, silu, gelu, relu2 });

function gateOf(activation: string | undefined): GateFlags {
  const [silu, gelu, relu2] = ['silu', 'gelu', 'relu2'].map((name) => name === activation) as [
    boolean,
    boolean,
    boolean,
  ];
  return { exponential: silu || gelu, silu, gelu, relu2 };
}

/** Loads of eight keys that are on their way at once: as many as divide a head, and no more than `most`, a power of two. */
function keysAhead(headDim: number, most: number): number {
  let count = most;
  while ((headDim / 8) % count !== 0 && count > 1) count /= 2;
  return count;
}

/** How many times 32 lanes share the columns of a row block: fewer where row blocks alone fill the machine. */
function splitOf(blocks: number, workgroups: number): number {
  let split = THREADS / LANES;
  while (split > 1 && Math.ceil(blocks / (THREADS / LANES / split)) > workgroups) split /= 2;
  return split;
}
