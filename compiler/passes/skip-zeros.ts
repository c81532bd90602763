import type { ModelIR } from '../ir/model.ts';
import { pad16, type Step } from '../ir/plan.ts';
import { SKIPPING } from '../kernels/index.ts';
import type { Steps } from './lower.ts';

export interface SkipRequest {
  /**
   * Whether a step of one token leaves unread what meets a zero of the gated hidden values, where the activation makes
   * exact zeros: squared ReLU does. On unless it is `false`. Results are the same, bit for bit.
   */
  readonly skipZeros?: boolean;
}

type BitLinear = Extract<Step, { op: 'bitlinear' }>;

const REASON = 'skips what meets a zero of relu2';

/**
 * Packs `up` by rows and `down` by columns, so that a step of one token can skip those that meet zeros. The gate, which
 * says where the zeros are, becomes a matrix of its own that is computed first.
 */
export function skipZeros(ir: ModelIR, steps: Steps, { skipZeros: wanted = true }: SkipRequest): Steps {
  if (!wanted || ir.hyper.activation !== 'relu2') return steps;
  const rows = pad16(ir.hyper.ffn);
  const layer = steps.layer.flatMap((step): Step[] => (step.op === 'bitlinear' ? rewrite(step, rows) : [step]));
  return { ...steps, layer };
}

function rewrite(step: BitLinear, rows: number): BitLinear[] {
  switch (step.use) {
    case 'gate_up': {
      const gate: BitLinear = { ...step, use: 'gate', codes: 'gate', scales: 'gate_scales', m: rows };
      const up: BitLinear = { ...step, use: 'up', codes: 'up', scales: 'up_scales', m: rows, row: step.row + rows };
      return [gate, inPart(up, 'rows')];
    }
    case 'up':
      return [inPart(step, 'rows')];
    case 'down':
      return [inPart(step, 'columns')];
    default:
      return [step];
  }
}

function inPart(step: BitLinear, skips: 'rows' | 'columns'): BitLinear {
  return { ...step, layout: SKIPPING[skips].id, skips, reason: REASON };
}
