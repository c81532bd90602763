import {
  type TableAt,
  WEBGL_VERSION,
  type WebGlMatrix,
  type WebGlProgram,
  type WebGlStep,
} from '../../../artifact/webgl.ts';
import type { PackedTensor, Plan, Step } from '../../ir/plan.ts';
import { texel } from '../../kernels/bitlinear-texel.ts';
import { blocksOf } from '../../kernels/layout.ts';
import type { KernelSpec } from '../../kernels/spec.ts';
import { distinctKernels } from '../../passes/select-kernels.ts';
import { selectWebGlKernels } from '../../passes/select-webgl-kernels.ts';
import { render } from '../environment.ts';
import type { Source } from '../index.ts';
import { headTable } from '../views.ts';

/** A program but for its key, which is made of what it is. */
export type UnkeyedWebGl = Omit<WebGlProgram, 'key'>;

type BitLinear = Extract<Step, { op: 'bitlinear' }>;

/** View of a kernel's template. */
export function kernelView({ m, k }: Pick<KernelSpec, 'm' | 'k'>) {
  const texels = blocksOf(texel, k);
  return { m, k, texels, fours: texels * (texel.columns / 4), padded: texels * texel.columns };
}

/** Writes the program of a model. Throws UnsupportedSpecError where a matrix cannot be multiplied exactly. */
export function renderWebGl(plan: Plan): UnkeyedWebGl {
  const choices = selectWebGlKernels(plan);
  const { hyper, weights } = plan;
  const linears = plan.layer.filter((step) => step.op === 'bitlinear');
  const embedding = weights.shared.find(({ name }) => name === 'embedding')!;
  const quantised: Record<string, number> = {};
  for (const { q, k } of linears) quantised[q] = Math.max(quantised[q] ?? 0, kernelView({ m: 0, k }).padded);
  const floats = plan.buffers.filter(({ name }) => !(name in quantised) && !name.endsWith('quant'));
  const { pairs } = hyper.rope;
  return {
    version: WEBGL_VERSION,
    layers: hyper.layers,
    vocab: hyper.vocab,
    embedding: hyper.embedding,
    heads: hyper.heads,
    kvHeads: hyper.kvHeads,
    headDim: hyper.headDim,
    normEpsilon: Math.fround(hyper.normEpsilon),
    attentionScale: Math.fround(hyper.attentionScale ?? 1 / Math.sqrt(hyper.headDim)),
    rope: { pairs, frequencies: plan.ropeFrequencies, localFrequencies: plan.localFrequencies },
    local: hyper.window?.local ?? null,
    maxTokens: plan.maxTokens,
    prologue: plan.prologue.map((step) => stepOf(plan, linears, step)),
    layer: plan.layer.map((step) => stepOf(plan, linears, step)),
    epilogue: plan.epilogue.map((step) => stepOf(plan, linears, step)),
    buffers: Object.fromEntries(floats.map(({ name, bytes }) => [name, bytes / 4])),
    quantised,
    table: tableAt(embedding),
    head: tableAt(headTable(plan)),
    matrices: linears.map((linear, i) => matrixAt(plan, linear, choices[i].gemv.name)),
    layerBase: weights.layerBase,
    layerBytes: weights.layerBytes,
    kernels: Object.fromEntries(
      distinctKernels(choices).map((spec) => [spec.name, render(`${spec.family}.js`, kernelView(spec), 'webgl')]),
    ),
  };
}

/** The kernels as files to be read. */
export const kernelSources = ({ kernels }: UnkeyedWebGl): Source[] =>
  Object.entries(kernels).map(([name, text]) => ({ file: `kernels/${name}.js`, text }));

function tableAt(tensor: PackedTensor): TableAt {
  if (tensor.kind !== 'rows') throw new Error(`packed tensor '${tensor.name}' is not a table`);
  const { offset, encoding, rows, cols, bytes } = tensor;
  return { offset, encoding, rows, cols, bytes };
}

function offsetOf(tensors: readonly PackedTensor[], name: string): number {
  const found = tensors.find((tensor) => tensor.name === name);
  if (!found) throw new Error(`the plan has no packed tensor '${name}'`);
  return found.offset;
}

function matrixAt({ weights }: Plan, { codes, scales, m, k }: BitLinear, kernel: string): WebGlMatrix {
  const { offset, bytes } = weights.layer.find(({ name }) => name === codes)!;
  return { kernel, m, k, codes: offset, bytes, scales: offsetOf(weights.layer, scales) };
}

/** A step of the plan with offsets for the names of weights. */
function stepOf({ weights }: Plan, linears: readonly BitLinear[], step: Step): WebGlStep {
  const norm = (name: string | null): number | null => (name === null ? null : offsetOf(weights.layer, name));
  switch (step.op) {
    case 'embed': {
      const { op, scale, out, angles, localAngles } = step;
      return { op, scale, out, angles, localAngles };
    }
    case 'norm':
      return { ...step, norm: offsetOf(weights.layer, step.norm) };
    case 'norm_quantise': {
      const { op, input, size, q } = step;
      return { op, input, norm: norm(step.norm), size, q };
    }
    case 'gated_quantise': {
      const { op, input, size, activation, q } = step;
      return { op, input, norm: norm(step.norm), size, activation, q };
    }
    case 'bitlinear': {
      const { op, q, out, row, accumulate } = step;
      return { op, matrix: linears.indexOf(step), q, out, row, accumulate };
    }
    case 'rope_store': {
      const { op, qkv, angles, localAngles } = step;
      return { op, qkv, queryNorm: norm(step.queryNorm), keyNorm: norm(step.keyNorm), angles, localAngles };
    }
    case 'attention':
      return step;
    case 'final_norm':
      return { ...step, norm: offsetOf(weights.shared, step.norm) };
    case 'head':
      return { op: step.op, input: step.input };
  }
}
