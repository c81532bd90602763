import type { Target } from '../../targets/target.ts';
import type { Plan, Step } from '../ir/plan.ts';
import { families } from '../kernels/index.ts';
import { formatName } from '../kernels/name.ts';
import { type KernelFamily, type KernelShape, type KernelSpec, UnsupportedSpecError } from '../kernels/spec.ts';
import type { Tuned } from '../tune/tuned-file.ts';
import type { KernelRequest } from './choose-kernels.ts';

/** The kernels that one ternary matrix is computed with. */
export interface Choice {
  /** The step's use of it: `qkv`, `down`, … */
  readonly use: string;
  readonly gemv: KernelSpec;
  readonly gemm: KernelSpec;
  /** More kernels for many tokens: of targets that have one for each range of how many. */
  readonly others?: readonly KernelSpec[];
}

/** All kernels of a choice; one may be for any number of tokens. */
export const kernelsOf = ({ gemv, gemm, others = [] }: Choice): KernelSpec[] => [...new Set([gemv, gemm, ...others])];

/** What a kernel is chosen for: a matrix, with the tile of its look-ups where it has one. */
type Matrix = KernelShape & Pick<Extract<Step, { op: 'bitlinear' }>, 'tile' | 'reason'>;

function choose(takes: KernelFamily['takes'], matrix: Matrix, layout: string, target: Target): KernelSpec {
  const { m, k, tile: asked, reason = 'heuristic' } = matrix;
  const shape = { m, k };
  // Only look-ups have a tile that can be asked for.
  const looksUp = takes === 'one' && asked !== undefined;
  let refused: UnsupportedSpecError | undefined;
  for (const family of families) {
    if (family.takes !== takes || family.layout !== layout) continue;
    const tile = looksUp
      ? { rows: asked.BM, columns: asked.BK, held: asked.bm, tokens: 1 }
      : family.defaultTile(shape, target);
    try {
      family.check(shape, tile, target);
    } catch (error) {
      if (!(error instanceof UnsupportedSpecError)) throw error;
      refused = error;
      continue;
    }
    const name = formatName({ family: family.id, ...shape, tile, target: target.id });
    return { name, family: family.id, ...shape, tile, reason: asked && !looksUp ? 'heuristic' : reason };
  }
  throw refused ?? new UnsupportedSpecError(`no kernel family reads layout ${layout}`);
}

/** The kernel that tuning found for a matrix. Throws UnsupportedSpecError where it cannot be exact. */
function chooseTuned(takes: KernelFamily['takes'], matrix: Matrix, layout: string, target: Target, tuned?: Tuned) {
  const { m, k } = matrix;
  const shape = tuned?.shapes.find((one) => one.m === m && one.k === k);
  const found = shape?.layouts.find((one) => one.layout === layout)?.kernels[takes];
  const family = families.find(({ id }) => id === found?.family);
  if (!found || !family || family.layout !== layout || family.takes !== takes) return undefined;
  const { tile, reason } = found;
  family.check({ m, k }, tile, target);
  return {
    name: formatName({ family: family.id, m, k, tile, target: target.id }),
    family: family.id,
    m,
    k,
    tile,
    reason,
  };
}

/**
 * Chooses a GEMV and a GEMM kernel for each ternary matrix of the plan: those that a tuning for the target found, or the
 * families' own tiles.
 */
export function selectKernels(plan: Plan, target: Target, tuned: KernelRequest['tuned'] = false): Choice[] {
  const own = (tuned || []).find((one) => one.target === target.id);
  const kernel = (takes: KernelFamily['takes'], matrix: Matrix, layout: string): KernelSpec =>
    chooseTuned(takes, matrix, layout, target, own) ?? choose(takes, matrix, layout, target);
  return plan.layer
    .filter((step) => step.op === 'bitlinear')
    .map((step) => {
      const { layout } = step;
      return {
        use: step.use,
        gemv: kernel('one', step, layout),
        gemm: kernel('many', step, layout),
      };
    });
}

/** The distinct kernels of the choices, in order of first use. */
export function distinctKernels(choices: readonly Choice[]): KernelSpec[] {
  const byName = new Map<string, KernelSpec>();
  for (const choice of choices) {
    for (const spec of kernelsOf(choice)) if (!byName.has(spec.name)) byName.set(spec.name, spec);
  }
  return [...byName.values()];
}
