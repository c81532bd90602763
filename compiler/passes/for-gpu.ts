import type { Hyper } from '../ir/model.ts';
import { type Buffer, pad16, type Step } from '../ir/plan.ts';
import { TILE_COLUMNS, t16 } from '../kernels/bitlinear-t16.ts';
import type { Steps } from './lower.ts';

/** The most tokens that one step takes on a GPU: enough for its tensor cores. Whole tiles of 256. */
export const GPU_MAX_TOKENS = 2048;

/**
 * The same steps for a GPU: all matrices in its layout, and where gate and up are one matrix, their rows are woven, so that
 * the activation is computed where both are at hand and only its result is stored.
 */
export function stepsForGpu(steps: Steps, { activation, ffn }: Hyper): Steps {
  const weave = steps.layer.some((step) => step.op === 'bitlinear' && step.use === 'gate_up');
  const map = (step: Step): Step => {
    if (step.op === 'bitlinear') {
      const gate = step.use === 'gate_up' ? { gate: activation, out: 'gated' } : {};
      return { ...step, layout: t16.id, ...gate, reason: 'heuristic' };
    }
    if (step.op === 'gated_quantise' && weave) {
      const { norm, q, quant } = step;
      return { op: 'norm_quantise', input: 'gated', norm, size: ffn, q, quant };
    }
    return step;
  };
  return { ...steps, layer: steps.layer.map(map) };
}

/** Rounds up to whole tiles of activations. */
export const padTile = (n: number): number => Math.ceil(n / TILE_COLUMNS) * TILE_COLUMNS;

/**
 * Gives each buffer of a GPU's steps a place for GPU_MAX_TOKENS tokens: memory is plenty beside the weights, so no two
 * share one. `offset` is the place itself. Quantised values are padded to whole tiles.
 */
export function gpuBuffers(steps: Steps, hyper: Hyper): { buffers: Buffer[]; workspaceBytes: number } {
  const { embedding, ffn, heads, kvHeads, headDim } = hyper;
  const floats = (n: number) => 4 * pad16(n);
  const bytes: Record<string, number> = {
    x: floats(embedding),
    normed: floats(embedding),
    qkv: floats(pad16(heads * headDim) + 2 * pad16(kvHeads * headDim)),
    attended: floats(heads * headDim),
    projected: floats(embedding),
    gate_up: floats(2 * pad16(ffn)),
    gated: floats(ffn),
    hidden: floats(embedding),
  };
  const quantised = new Map<string, number>();
  for (const step of [...steps.prologue, ...steps.layer, ...steps.epilogue]) {
    if (step.op !== 'norm_quantise' && step.op !== 'gated_quantise') continue;
    quantised.set(step.q, Math.max(quantised.get(step.q) ?? 0, padTile(step.size)));
    quantised.set(step.quant, 8);
  }
  let offset = 0;
  const buffers = [...Object.entries(bytes), ...quantised].map(([name, each]): Buffer => {
    const buffer = { name, bytes: each, offset };
    offset += Math.ceil((each * GPU_MAX_TOKENS) / 1024) * 1024;
    return buffer;
  });
  return { buffers, workspaceBytes: offset };
}
