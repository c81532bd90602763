import type { ModelIR } from '../ir/model.ts';
import { type Buffer, pad16, pad64 } from '../ir/plan.ts';
import type { Steps } from './lower.ts';

/** First and last step (counted over prologue, layer and epilogue) at which a buffer holds something. */
interface Lifetime {
  first: number;
  last: number;
}

/** Buffers that carry a value from one layer to the next. */
const ACROSS_LAYERS = new Set(['x', 'angles']);

function bufferBytes(ir: ModelIR): Record<string, number> {
  const { embedding, ffn, heads, kvHeads, headDim, rope } = ir.hyper;
  const floats = (n: number) => pad64(4 * pad16(n));
  const widest = Math.max(embedding, heads * headDim, ffn);
  return {
    x: floats(embedding),
    angles: pad64(4 * rope.dimensions),
    q: pad64(pad16(widest)),
    quant: 64,
    qkv: floats(pad16(heads * headDim) + 2 * pad16(kvHeads * headDim)),
    attended: floats(heads * headDim),
    gate_up: floats(2 * pad16(ffn)),
    hidden: floats(embedding),
  };
}

function lifetimes(steps: Steps): Map<string, Lifetime> {
  const all = [...steps.prologue, ...steps.layer, ...steps.epilogue];
  const found = new Map<string, Lifetime>();
  const touch = (name: string, at: number) => {
    const lifetime = found.get(name);
    if (lifetime) lifetime.last = at;
    else found.set(name, { first: at, last: at });
  };
  all.forEach((step, at) => {
    for (const name of [...readBy(step), ...writtenBy(step)]) touch(name, at);
  });
  for (const name of ACROSS_LAYERS) found.get(name)!.last = all.length - 1;
  return found;
}

function readBy(step: Steps['layer'][number]): string[] {
  switch (step.op) {
    case 'embed':
      return [];
    case 'norm_quantise':
    case 'gated_quantise':
    case 'final_norm':
    case 'head':
      return [step.input];
    case 'bitlinear':
      return ['q', 'quant'];
    case 'rope_store':
      return [step.qkv, step.angles];
    case 'attention':
      return [step.qkv];
  }
}

function writtenBy(step: Steps['layer'][number]): string[] {
  switch (step.op) {
    case 'embed':
      return [step.out, step.angles];
    case 'norm_quantise':
    case 'gated_quantise':
      return ['q', 'quant'];
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
  const bytes = bufferBytes(ir);
  const lives = lifetimes(steps);
  const placed: (Buffer & Lifetime)[] = [];
  const byStart = [...lives].sort(([, a], [, b]) => a.first - b.first);
  for (const [name, life] of byStart) {
    const rivals = placed.filter((other) => other.first <= life.last && life.first <= other.last);
    rivals.sort((a, b) => a.offset - b.offset);
    let offset = 0;
    for (const rival of rivals) {
      if (offset + bytes[name] <= rival.offset) break;
      offset = Math.max(offset, rival.offset + rival.bytes);
    }
    placed.push({ name, bytes: bytes[name], offset, ...life });
  }
  return {
    buffers: placed.map(({ name, bytes, offset }) => ({ name, bytes, offset })),
    workspaceBytes: Math.max(...placed.map((buffer) => buffer.offset + buffer.bytes)),
  };
}
