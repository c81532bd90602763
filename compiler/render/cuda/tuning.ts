import type { Plan, Step } from '../../ir/plan.ts';
import { GPU_TOKENS, type GpuClass, t16 } from '../../kernels/bitlinear-t16.ts';
import { packedBytes } from '../../kernels/layout.ts';
import type { KernelSpec } from '../../kernels/spec.ts';
import { shareAmong } from '../../passes/share-gpus.ts';
import { render } from '../environment.ts';
import type { Source } from '../index.ts';
import { headers, runOf } from './index.ts';
import { CudaViews } from './views.ts';

/** A matrix of a tuning program in memory: where things are, and its bytes. */
export interface TrialLayer {
  readonly codes: number;
  /** float32, one for each half row block. */
  readonly scales: number;
  /** float32, one for each column. */
  readonly norm: number;
  readonly bytes: number;
}

/** Where a matrix of m x k and what goes with it lie. */
export function trialLayer(m: number, k: number): TrialLayer {
  const align = (n: number) => Math.ceil(n / 128) * 128;
  const scales = align(packedBytes(t16, m, k));
  const norm = scales + align((m / 8) * 4);
  return { codes: 0, scales, norm, bytes: norm + align(4 * k) };
}

/**
 * Writes a program of kernels for one matrix of a plan, which is in memory as `trialLayer` says, for steps of one class:
 * its table has a trial for each, and no step.
 */
export function renderTuning(
  plan: Plan,
  step: Extract<Step, { op: 'bitlinear' }>,
  takes: GpuClass,
  kernels: readonly KernelSpec[],
): Source[] {
  const views = new CudaViews(shareAmong(plan, 1));
  const { codes, scales, norm, bytes } = trialLayer(step.m, step.k);
  const matrices = kernels.map((kernel, index) => {
    const whole = views.matrix(step, [kernel]);
    return { ...whole, name: `${step.use}_${index}`, codes, scales, norm: whole.norm < 0 ? -1 : norm };
  });
  const view = {
    use: step.use,
    m: step.m,
    k: step.k,
    maxTokens: GPU_TOKENS[takes],
    layerBytes: bytes,
    workspaceBytes: views.kept.end,
    matrices,
    trials: kernels.map((kernel, index) => ({
      kernel: kernel.name,
      use: matrices[index]!.name,
      run: runOf(matrices[index]!.name, kernel),
    })),
  };
  return [...headers(), { file: 'model.cu', text: render('tuning.cu', view, 'cuda') }];
}
