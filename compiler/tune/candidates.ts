import type { Target } from '../../targets/target.ts';
import { type Plan, pad16 } from '../ir/plan.ts';
import { families, LAYOUTS, layoutOf } from '../kernels/index.ts';
import { formatName, type Tile } from '../kernels/name.ts';
import { type KernelFamily, type KernelShape, type KernelSpec, UnsupportedSpecError } from '../kernels/spec.ts';
import { defaultTableTile, misfit } from '../kernels/table-tile.ts';
import type { BatchClass } from './bed.ts';
import { type Cost, costOf } from './cost-model.ts';

/** How many tokens a kernel is timed with, by what it takes. */
export const BATCHES: Readonly<Record<KernelFamily['takes'], number>> = { one: 1, many: 128 };

/** A ternary matrix shape of a model. */
export interface MatrixShape extends KernelShape {
  /** The steps that have it: `qkv`, `down`, … */
  readonly uses: readonly string[];
  /** Times that it is in the model. */
  readonly count: number;
  /** Rows of the projections that it is made of. */
  readonly parts: readonly number[];
}

/** A kernel that is to be tried. */
export interface Candidate {
  readonly spec: KernelSpec;
  readonly layout: string;
  readonly takes: BatchClass;
  readonly tokens: number;
  /** The family's own tile. */
  readonly isDefault: boolean;
  readonly cost: Cost;
}

/** The distinct matrix shapes of a plan, but for those that are read in part, in order of first use. */
export function shapesOf(plan: Plan): MatrixShape[] {
  const shapes = new Map<string, MatrixShape>();
  for (const step of plan.layer) {
    if (step.op !== 'bitlinear' || step.skips) continue;
    const { use, m, k } = step;
    const packed = plan.weights.layer.find((tensor) => tensor.kind === 'codes' && tensor.name === step.codes);
    const parts = packed?.kind === 'codes' ? packed.parts.map(({ rows }) => rows) : [];
    const known = shapes.get(`${m} ${k}`);
    shapes.set(`${m} ${k}`, {
      m,
      k,
      uses: [...(known?.uses ?? []), use],
      count: (known?.count ?? 0) + plan.hyper.layers,
      parts: [...new Set([...(known?.parts ?? []), ...parts])],
    });
  }
  return [...shapes.values()];
}

/** Whether a kernel .ini can give that tile to each projection of a matrix, where it is one of look-ups. */
function fitsParts({ parts, k }: MatrixShape, family: KernelFamily, { rows, columns, held }: Tile): boolean {
  if (held === undefined) return true;
  return parts.every((m) => {
    const section = { name: '', line: 0, m: pad16(m), k, BM: rows, BK: columns, bm: held };
    return misfit({ file: '', sections: [] }, section, layoutOf(family.layout)) === undefined;
  });
}

/** The family's own tile; of look-ups one that all projections of the matrix can have. */
function defaultTile(family: KernelFamily, shape: MatrixShape, target: Target): Tile {
  const tile = family.defaultTile(shape, target);
  if (tile.held === undefined || shape.parts.length === 0) return tile;
  const { BM, BK, bm } = defaultTableTile(layoutOf(family.layout), shape.parts, shape.k);
  return { rows: BM, columns: BK, held: bm, tokens: 1 };
}

function isExact(family: KernelFamily, shape: KernelShape, tile: Tile, target: Target): boolean {
  try {
    family.check(shape, tile, target);
    return true;
  } catch (error) {
    if (error instanceof UnsupportedSpecError) return false;
    throw error;
  }
}

/**
 * The kernels that can compute a shape for one batch class on a target: of each family its default tile, and of the tiles
 * that it lists and its own checks allow the `keep` that should cost least. In order of cost, family by family.
 */
export function candidatesFor(
  shape: MatrixShape,
  takes: KernelFamily['takes'],
  target: Target,
  { keep, caches }: { readonly keep: number; readonly caches?: readonly number[] },
): Candidate[] {
  return families
    .filter((family) => family.takes === takes && Object.values(LAYOUTS).some(({ id }) => id === family.layout))
    .flatMap((family) => {
      const candidate = (tile: Tile, isDefault: boolean): Candidate => {
        const { m, k } = shape;
        const name = formatName({ family: family.id, m, k, tile, target: target.id });
        const spec = { name, family: family.id, m, k, tile, reason: 'tuning' };
        const tokens = BATCHES[takes];
        const cost = costOf(family, spec, target, tokens, caches ? [...caches] : undefined);
        return { spec, layout: family.layout, takes, tokens, isDefault, cost };
      };
      const own = defaultTile(family, shape, target);
      if (!isExact(family, shape, own, target)) return [];
      const standard = candidate(own, true);
      const others = family
        .tiles(shape, target)
        .filter((tile) => isExact(family, shape, tile, target) && fitsParts(shape, family, tile))
        .map((tile) => candidate(tile, false))
        .filter(({ spec }) => spec.name !== standard.spec.name)
        .sort((a, b) => a.cost.cycles - b.cost.cycles);
      return [standard, ...others.slice(0, keep)];
    });
}
