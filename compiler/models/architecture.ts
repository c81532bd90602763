import type { Activation, RopePairs } from '../ir/plan.ts';

/** What tells one decoder-only architecture from another. */
export interface Architecture {
  /** `general.architecture` of the model file. */
  readonly id: string;
  /** Between gate and up projection. Model files carry no key for it: it follows from the architecture. */
  readonly activation: Activation;
  readonly ropePairs: RopePairs;
  /** RMS norms before the attention output and down projections. */
  readonly subNorms: boolean;
}
