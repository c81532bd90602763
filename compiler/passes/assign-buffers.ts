import type { ModelIR } from '../ir/model.ts';
import { type Buffer, needsBarrier, pad16, pad64, type Step } from '../ir/plan.ts';
import type { Steps } from './lower.ts';

/**
 * First and last moment at which a buffer holds something. Moments pass with barriers, counted over prologue, layer and
 * epilogue: between two of them, threads may be at different steps.
 */
interface Lifetime {
  first: number;
  last: number;
}

/** Buffers that carry a value from one layer to the next. */
const ACROSS_LAYERS = new Set(['x', 'angles', 'local_angles']);

/** Bytes of a buffer for one token. */
function bufferBytes(ir: ModelIR, name: string): number {
  const { embedding, ffn, heads, kvHeads, headDim, rope } = ir.hyper;
  const floats = (n: number) => pad64(4 * pad16(n));
  const widest = Math.max(embedding, heads * headDim, ffn);
  const bytes: Record<string, number> = {
    x: floats(embedding),
    angles: pad64(4 * rope.dimensions),
    local_angles: pad64(4 * rope.dimensions),
    normed: floats(embedding),
    q: pad64(pad16(widest)),
    quant: 64,
    qkv: floats(pad16(heads * headDim) + 2 * pad16(kvHeads * headDim)),
    attended: floats(heads * headDim),
    projected: floats(embedding),
    gate_up: floats(2 * pad16(ffn)),
    hidden: floats(embedding),
  };
  if (name in bytes) return bytes[name];
  return name.endsWith('quant') ? bytes.quant : pad64(pad16(embedding));
}

function lifetimes(steps: Steps): Map<string, Lifetime> {
  const found = new Map<string, Lifetime>();
  let moment = 0;
  for (const list of [steps.prologue, steps.layer, steps.epilogue]) {
    list.forEach((step, at) => {
      for (const name of [...readBy(step), ...writtenBy(step)]) {
        const lifetime = found.get(name);
        if (lifetime) lifetime.last = moment;
        else found.set(name, { first: moment, last: moment });
      }
      if (needsBarrier(step, list[at + 1])) moment++;
    });
  }
  for (const name of ACROSS_LAYERS) {
    const lifetime = found.get(name);
    if (lifetime) lifetime.last = moment;
  }
  return found;
}

const present = (...names: readonly (string | null)[]) => names.filter((name) => name !== null);

function readBy(step: Step): string[] {
  switch (step.op) {
    case 'embed':
      return [];
    case 'norm':
    case 'norm_quantise':
    case 'gated_quantise':
    case 'final_norm':
    case 'head':
      return [step.input];
    case 'bitlinear':
      return [step.q, step.quant];
    case 'rope_store':
      return present(step.qkv, step.angles, step.localAngles);
    case 'attention':
      return [step.qkv];
  }
}

function writtenBy(step: Step): string[] {
  switch (step.op) {
    case 'embed':
      return present(step.out, step.angles, step.localAngles);
    case 'norm_quantise':
    case 'gated_quantise':
      return [step.q, step.quant];
    case 'norm':
    case 'bitlinear':
    case 'attention':
    case 'final_norm':
      return [step.out];
    case 'rope_store':
    case 'head':
      return [];
  }
}

/** Gives each buffer a place in the workspace, sharing places between buffers that never hold a value together. */
export function assignBuffers(ir: ModelIR, steps: Steps): { buffers: Buffer[]; workspaceBytes: number } {
  const lives = lifetimes(steps);
  const placed: (Buffer & Lifetime)[] = [];
  const byStart = [...lives].sort(([, a], [, b]) => a.first - b.first);
  for (const [name, life] of byStart) {
    const bytes = bufferBytes(ir, name);
    const rivals = placed.filter((other) => other.first <= life.last && life.first <= other.last);
    rivals.sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + bytes <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    placed.push({ name, bytes, offset, ...life });
  }
  return {
    buffers: placed.map(({ name, bytes, offset }) => ({ name, bytes, offset })),
    workspaceBytes: Math.max(...placed.map((buffer) => buffer.offset + buffer.bytes)),
  };
}
