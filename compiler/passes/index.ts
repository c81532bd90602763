import { BitnetError } from '../../errors.ts';
import type { ModelIR } from '../ir/model.ts';
import type { Plan } from '../ir/plan.ts';
import { verifyModel } from '../ir/verify.ts';
import { architectureOf } from '../models/index.ts';
import { assignBuffers } from './assign-buffers.ts';
import { chooseTables, type HeadRequest } from './choose-head.ts';
import { chooseKernels, type KernelRequest } from './choose-kernels.ts';
import { GPU_MAX_TOKENS, gpuBuffers, stepsForGpu } from './for-gpu.ts';
import { stepsForWebGl, WEBGL_MAX_TOKENS } from './for-webgl.ts';
import { layoutWeights } from './layout-weights.ts';
import { lower, type Steps } from './lower.ts';
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
  return plan(ir, steps, MAX_TOKENS, assignBuffers(ir, steps), request);
}

/**
 * ModelIR → Plan, for GPUs: the same steps, in their own layout of weights and memory. Throws as planModel does, and where
 * kernels of a CPU are asked for.
 */
export function planForGpu(ir: ModelIR, request: PlanRequest = {}): Plan {
  refuseForCpus(request);
  const architecture = architectureOf(ir.architecture);
  verifyModel(ir, architecture);
  const steps = stepsForGpu(lower(ir, architecture), ir.hyper);
  return plan(ir, steps, GPU_MAX_TOKENS, gpuBuffers(steps, ir.hyper), { ...request, screen: 0 });
}

/** ModelIR → Plan, for WebGL: matrices in the layout of textures, everything else as CPUs have it. Throws as planForGpu does. */
export function planForWebGl(ir: ModelIR, request: PlanRequest = {}): Plan {
  refuseForCpus(request);
  const architecture = architectureOf(ir.architecture);
  verifyModel(ir, architecture);
  const steps = stepsForWebGl(lower(ir, architecture));
  return plan(ir, steps, WEBGL_MAX_TOKENS, assignBuffers(ir, steps), { ...request, screen: 0 });
}

function refuseForCpus({ kernel = 'auto', screen = 0 }: PlanRequest): void {
  if (kernel !== 'auto') {
    throw new BitnetError(`kernel ${kernel} is for CPUs`, { hint: 'GPUs have kernels of their own: leave it out' });
  }
  if (screen !== 0) throw new BitnetError('screened heads are for CPUs', { hint: 'leave the option screen out' });
}

function plan(
  ir: ModelIR,
  steps: Steps,
  maxTokens: number,
  memory: Pick<Plan, 'buffers' | 'workspaceBytes'>,
  request: PlanRequest,
): Plan {
  return {
    name: ir.name,
    architecture: ir.architecture,
    hyper: ir.hyper,
    ropeFrequencies: ropeFrequencies(ir.hyper),
    localFrequencies: localFrequencies(ir.hyper),
    maxTokens,
    ...steps,
    ...memory,
    weights: layoutWeights(ir, steps, chooseTables(ir, request), request.screen),
  };
}
