import type { Encoding } from '../../ir/model.ts';
import type { PackedTensor, Plan, Step } from '../../ir/plan.ts';
import { pad16 } from '../../ir/plan.ts';
import { type GpuKernels, MMA, MULTIPROCESSORS, SKINNY, WGMMA } from '../../kernels/bitlinear-t16.ts';
import type { KernelSpec } from '../../kernels/spec.ts';
import { padTile } from '../../passes/for-gpu.ts';
import { gpuKernelsOf } from '../../passes/select-gpu-kernels.ts';
import type { Share } from '../../passes/share-gpus.ts';
import type { Tuned } from '../../tune/tuned-file.ts';
import { cppFloat, headTable } from '../views.ts';

/** A kernel of the program: what its partial of templates/cuda/steps needs, and how it is launched. */
export interface StepView {
  readonly partial: string;
  /** Its struct of constants, and the stem of its kernels' names. */
  readonly name: string;
}

/** The widest rows that GEMVs norm and quantise for themselves, each thread block all of it. */
const FUSED_COLUMNS = 16384;

/** Threads that norm a row: about four quads each, whole warps. */
const rowThreads = (size: number): number => Math.min(512, Math.max(64, Math.ceil(size / 16 / 32) * 32));

const TABLES: Partial<Record<Encoding, string>> = {
  f32: 'F32Table',
  f16: 'F16Table',
  bf16: 'Bf16Table',
  q8_0: 'Q8_0Table',
  q6_k: 'Q6_KTable',
  q4_0: 'Q4_0Table',
};

function rowsTable(tensor: PackedTensor) {
  if (tensor.kind !== 'rows') throw new Error(`packed tensor '${tensor.name}' is not a table`);
  const { offset, encoding, rows, cols, tiled = false } = tensor;
  const type = tiled ? TABLES[encoding]?.replace('Table', 'Tiles') : TABLES[encoding];
  return { table: offset, type: `${type}<${cols}>`, rows, size: cols, tiled };
}

/** Bytes of OneHead::Found, and of what one split of a head's context leaves behind, beside its values: flash.cuh. */
const FOUND_BYTES = 64;
const SPLITS_TAIL = 128;

/** How the kernels of a matrix are cut: of those of one, of 16 and of 64 tokens, and what is left, on wgmma or instead of it. */
function cutsOf(kernels: readonly KernelSpec[]) {
  const cuts = kernels.map(({ family, tile: { rows, tokens, block } }) => {
    const { warps, split, stages } = block!;
    const text = `{${[rows / 16, warps, split, stages].join(', ')}}`;
    const declared = split > 1 ? { step: 'TEAM_STEP', blocks: split } : { step: 'STEP', blocks: 1 };
    return { family, tokens, stages, text, field: tokens === 16 ? 'few' : 'some', ...declared };
  });
  const of = (family: string) => cuts.filter((cut) => cut.family === family);
  const gemms = of(WGMMA);
  const mma = of(MMA).length > 0;
  const instead = (cut: (typeof cuts)[number]) => gemms.some(({ tokens }) => tokens === cut.tokens);
  return {
    one: cuts.find(({ tokens }) => tokens === 1) ?? null,
    skinny: of(SKINNY).map((cut) => ({ ...cut, plain: instead(cut) })),
    gemms,
    mma,
    any: mma || gemms.length > 0,
  };
}

/** All that the templates need of a plan. */
export class CudaViews {
  readonly share: Share;
  /** Of one GPU. */
  readonly plan: Plan;
  readonly tuned: Tuned | undefined;

  constructor(share: Share, tuned?: Tuned) {
    this.share = share;
    this.tuned = tuned;
    this.plan = share.plan;
  }

  /** Where a buffer is, and the bytes from one token to the next. */
  buffer(name: string) {
    const found = this.plan.buffers.find((buffer) => buffer.name === name);
    if (!found) throw new Error(`the plan has no buffer '${name}'`);
    return found;
  }

  /** Parts that a buffer's rows lie in: those of the GPUs that share the model, or one. */
  parts(name: string): number {
    return this.share.gathered.has(name) ? this.share.gpus : 1;
  }

  /** Floats from one token to the next, of one part. */
  stride(name: string): number {
    return this.buffer(name).bytes / 4 / this.parts(name);
  }

  private offset(of: 'shared' | 'layer', name: string): number {
    const found = this.plan.weights[of].find((tensor) => tensor.name === name);
    if (!found) throw new Error(`the plan has no packed tensor '${name}'`);
    return found.offset;
  }

  private norm(name: string | null): number {
    return name === null ? -1 : this.offset('layer', name);
  }

  private row(input: string, size: number) {
    return {
      size,
      threads: rowThreads(size),
      epsilon: cppFloat(Math.fround(this.plan.hyper.normEpsilon)),
      input: this.buffer(input).offset,
      stride: this.stride(input),
      parts: this.parts(input),
    };
  }

  private attention() {
    const { heads, kvHeads, headDim, context } = this.plan.hyper;
    return {
      dim: headDim,
      heads,
      kvHeads,
      context,
      qkv: this.buffer('qkv').offset,
      stride: this.stride('qkv'),
      key: pad16(heads * headDim),
      value: pad16(heads * headDim) + pad16(kvHeads * headDim),
    };
  }

  /** Whether attention is what flash.cuh computes: heads of 128 that rotate whole, without norms or a window. */
  get flash(): boolean {
    const { headDim, heads, kvHeads, rope } = this.plan.hyper;
    const norms = this.plan.layer.some((step) => step.op === 'rope_store' && step.queryNorm !== null);
    const whole = rope.dimensions === headDim && rope.pairs === 'half';
    return headDim === 128 && heads / kvHeads <= 8 && whole && !norms && !this.windowed;
  }

  /**
   * Thread blocks that share a KV head's context at most: together about one for each multiprocessor of an H200. As many on
   * each of several GPUs as on one, for sums are added up split by split.
   */
  private get splits(): number {
    return Math.max(1, Math.min(32, Math.floor(MULTIPROCESSORS / this.share.kvHeads)));
  }

  /** What kernels keep in the workspace behind the buffers: zero before the first step. */
  get kept() {
    const { heads, kvHeads, headDim } = this.plan.hyper;
    const found = this.plan.workspaceBytes;
    const shares = found + FOUND_BYTES;
    const split = 4 * (heads / kvHeads) * (headDim + 2);
    return { found, shares, end: shares + (this.flash ? kvHeads * (this.splits * split + SPLITS_TAIL) : 0) };
  }

  /** Whether a layer is a local one, as an expression. */
  get windowed() {
    return this.plan.hyper.window !== undefined;
  }

  /** The kernels of a ternary matrix. */
  kernels(step: Extract<Step, { op: 'bitlinear' }>): GpuKernels {
    return gpuKernelsOf(step, this.tuned);
  }

  step(step: Step): StepView & Record<string, unknown> {
    const { hyper, ropeFrequencies } = this.plan;
    const partial = `steps/${step.op}`;
    switch (step.op) {
      case 'embed': {
        const embedding = this.plan.weights.shared.find(({ name }) => name === 'embedding')!;
        return {
          ...rowsTable(embedding),
          partial,
          name: 'embedding',
          out: this.buffer(step.out).offset,
          outStride: this.stride(step.out),
          outParts: this.parts(step.out),
          scale: step.scale === null ? '1.0f' : cppFloat(step.scale),
        };
      }
      case 'norm':
        return {
          ...this.row(step.input, step.size),
          partial,
          name: `norm_${step.norm}`,
          norm: this.norm(step.norm),
          out: this.buffer(step.out).offset,
          outStride: this.stride(step.out),
          accumulate: step.accumulate,
        };
      case 'norm_quantise':
        return {
          ...this.row(step.input, step.size),
          partial,
          name: `${step.q}_of_${step.norm ?? step.input}`,
          norm: this.norm(step.norm),
          q: this.buffer(step.q).offset,
          quant: this.buffer(step.quant).offset,
        };
      case 'gated_quantise':
        return {
          ...this.row(step.input, step.size),
          partial,
          name: `${step.q}_of_${step.norm ?? step.input}`,
          norm: this.norm(step.norm),
          up: pad16(step.size) / this.parts(step.input),
          activation: step.activation,
          q: this.buffer(step.q).offset,
          quant: this.buffer(step.quant).offset,
        };
      case 'bitlinear': {
        const { plain, ...kernels } = this.kernels(step);
        const all = new Set([...Object.values(kernels), ...Object.values(plain)]);
        return { ...this.matrix(step, [...all]), partial };
      }
      case 'rope_store':
        return {
          ...this.attention(),
          partial,
          name: 'rope',
          rotated: hyper.rope.dimensions,
          interleaved: hyper.rope.pairs === 'interleaved',
          localAngles: step.localAngles === null ? 0 : 8 * ropeFrequencies.length * hyper.context,
          local: this.windowed ? 'kLocal[layer]' : 'false',
          epsilon: cppFloat(Math.fround(hyper.normEpsilon)),
          queryNorm: this.norm(step.queryNorm),
          keyNorm: this.norm(step.keyNorm),
        };
      case 'attention': {
        const { attentionScale = 1 / Math.sqrt(hyper.headDim) } = hyper;
        return {
          ...this.attention(),
          partial,
          name: 'attended',
          out: this.buffer(step.out).offset,
          outStride: this.stride(step.out),
          outParts: this.parts(step.out),
          scale: cppFloat(Math.fround(attentionScale)),
          flash: this.flash,
          splits: this.splits,
          shares: this.kept.shares,
          window: step.window === null ? '0x7fffffff' : `kLocal[layer] ? ${step.window} : 0x7fffffff`,
        };
      }
      case 'final_norm': {
        const head = rowsTable(headTable(this.plan));
        return {
          ...this.row(step.input, hyper.embedding),
          partial,
          name: step.norm,
          tiles: head.tiled ? head.type : null,
          norm: this.offset('shared', step.norm),
          out: this.buffer(step.out).offset,
          outStride: this.stride(step.out),
        };
      }
      case 'head': {
        const last = this.plan.epilogue.find((other) => other.op === 'final_norm')!;
        return {
          ...rowsTable(headTable(this.plan)),
          partial,
          name: 'logits',
          input: this.buffer(step.input).offset,
          stride: this.stride(step.input),
          batch: 8,
          found: this.kept.found,
          before: this.buffer(last.input).offset,
          norm: this.offset('shared', last.norm),
          epsilon: cppFloat(Math.fround(hyper.normEpsilon)),
        };
      }
    }
  }

  /** A ternary matrix, with some kernels: what steps/bitlinear needs. */
  matrix(step: Extract<Step, { op: 'bitlinear' }>, kernels: readonly KernelSpec[]) {
    const input = this.plan.layer.find(
      (other) => (other.op === 'norm_quantise' || other.op === 'gated_quantise') && this.feeds(other, step),
    );
    if (input?.op !== 'norm_quantise' && input?.op !== 'gated_quantise') throw new Error(`nothing feeds ${step.use}`);
    return {
      name: step.use,
      m: step.m,
      columns: padTile(step.k),
      codes: this.offset('layer', step.codes),
      scales: this.offset('layer', step.scales),
      q: this.buffer(step.q).offset,
      quant: this.buffer(step.quant).offset,
      out: this.buffer(step.out).offset + 4 * step.row,
      outStride: this.stride(step.out),
      outParts: this.parts(step.out),
      activation: step.gate ?? 'none',
      accumulate: step.accumulate,
      ...this.row(input.input, input.size),
      norm: this.norm(input.norm),
      up: input.op === 'gated_quantise' ? pad16(input.size) / this.parts(input.input) : 0,
      fused: this.fuses(input),
      gate: input.op === 'gated_quantise' ? input.activation : 'none',
      ...cutsOf(kernels),
    };
  }

  /** Whether the GEMVs that read what a step quantises do that for themselves: not where registers cannot hold a row. */
  fuses(step: Step): boolean {
    return (step.op === 'norm_quantise' || step.op === 'gated_quantise') && step.size <= FUSED_COLUMNS;
  }

  /** Whether a step quantises what a matrix multiplies: the last one before it that writes there. */
  private feeds(step: Step, matrix: Extract<Step, { op: 'bitlinear' }>): boolean {
    const before = this.plan.layer.slice(0, this.plan.layer.indexOf(matrix));
    const writers = before.filter((other) => 'q' in other && other.op !== 'bitlinear' && other.q === matrix.q);
    return writers.at(-1) === step;
  }
}
