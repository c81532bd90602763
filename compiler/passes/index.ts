import type { ModelIR } from '../ir/model.ts';
import type { Plan } from '../ir/plan.ts';
import { verifyModel } from '../ir/verify.ts';
import { architectureOf } from '../models/index.ts';
import { assignBuffers } from './assign-buffers.ts';
import { chooseTables, type HeadRequest } from './choose-head.ts';
import { chooseKernels, type KernelRequest } from './choose-kernels.ts';
import { layoutWeights } from './layout-weights.ts';
import { lower } from './lower.ts';
import { localFrequencies, ropeFrequencies } from './rope-frequencies.ts';
import { type SkipRequest, skipZeros } from './skip-zeros.ts';

/** The most tokens that one step takes: enough to be bound by arithmetic, little enough to cancel quickly. */
const MAX_TOKENS = 256;

/** How the ternary matrices should be packed and multiplied, and how the head is stored. */
export type PlanRequest = KernelRequest & HeadRequest & SkipRequest;

/**
 * ModelIR → Plan. The passes, in their order; the plan is the same for every CPU target.
 * Throws a BitnetError where the model is not what its architecture asks for, or a request does not suit it.
 */
export function planModel(ir: ModelIR, request: PlanRequest = {}): Plan {
  const architecture = architectureOf(ir.architecture);
  verifyModel(ir, architecture);
  const steps = chooseKernels(ir, skipZeros(ir, lower(ir, architecture), request), request);
  const { buffers, workspaceBytes } = assignBuffers(ir, steps);
  return {
    name: ir.name,
    architecture: architecture.id,
    hyper: ir.hyper,
    ropeFrequencies: ropeFrequencies(ir.hyper),
    localFrequencies: localFrequencies(ir.hyper),
    maxTokens: MAX_TOKENS,
    ...steps,
    buffers,
    workspaceBytes,
    weights: layoutWeights(ir, steps, chooseTables(ir, request), request.screen),
  };
}
