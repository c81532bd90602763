import { basename } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { targets } from '../../targets/index.ts';
import type { ModelIR, TableTile } from '../ir/model.ts';
import { pad16, type Step } from '../ir/plan.ts';
import { layerLinears } from '../ir/verify.ts';
import { type KernelConfig, type KernelSection, numberSections, sectionFor } from '../kernels/config.ts';
import { type KernelKind, LAYOUTS, layoutOf } from '../kernels/index.ts';
import type { Layout } from '../kernels/layout.ts';
import { defaultTableTile, misfit, sameTile } from '../kernels/table-tile.ts';
import type { Tuned } from '../tune/tuned-file.ts';
import { MATRICES, type Steps } from './lower.ts';

/** How the ternary matrices should be packed and multiplied. */
export interface KernelRequest {
  /**
   * `i2` multiplies, `tl1` and `tl2` look up sums of two and of three weights. `auto`, the default, is `i2` unless there
   * is a `config`: then it is the one whose tiles those are.
   */
  readonly kernel?: KernelKind | 'auto';
  /** Tiles of table look-ups by shape. A shape that it lacks gets a default tile. `i2` has no such tiles. */
  readonly config?: KernelConfig;
  /**
   * What the tuner found out, one for each target. Layouts are those of the best target among them, tiles are each target's
   * own. Compiling a model uses what an earlier tuning left on this machine, unless this is false.
   */
  readonly tuned?: readonly Tuned[] | false;
}

type BitLinear = Extract<Step, { op: 'bitlinear' }>;
type Linear = ReturnType<typeof layerLinears>[number];

/** A part of a matrix with its tile, and why it has this one. */
interface Tiled {
  readonly name: string;
  readonly rows: number;
  readonly tile: TableTile;
  readonly reason: string;
}

/**
 * Decides which layout each ternary matrix is packed in, and their tiles where the layout has any. Parts of a fused
 * matrix whose tiles differ become matrices of their own.
 *
 * Throws a BitnetError with the place in the .ini where that does not suit the model.
 */
export function chooseKernels(
  ir: ModelIR,
  steps: Steps,
  { kernel = 'auto', config, tuned = false }: KernelRequest,
): Steps {
  if (tuned && tuned.length > 0) return layoutsOf(steps, tuned);
  const kind = kernel === 'auto' && config ? kindOf(ir, config) : kernel;
  if (kind === 'auto' || kind === 'i2') {
    const reason = kind === 'auto' ? 'heuristic' : 'i2 was asked for';
    return mapMatrices(steps, (step) => [{ ...step, layout: LAYOUTS.i2.id, reason }]);
  }
  const layout = LAYOUTS[kind];
  const tiled = tilesOf(ir, layout, config);
  return mapMatrices(steps, (step) => {
    const parts = MATRICES[step.use].map((name) => tiled.get(name)!);
    const [{ tile }] = parts;
    if (!parts.every((part) => sameTile(part.tile, tile))) return split({ ...step, layout: layout.id }, parts);
    return [{ ...step, layout: layout.id, tile, reason: [...new Set(parts.map(({ reason }) => reason))].join('; ') }];
  });
}

const rankOf = ({ target }: Tuned): number => targets.find(({ id }) => id === target)?.rank ?? -1;

/** Layouts, and tiles of look-ups for targets that were not tuned for, as they are best on the best of the targets. */
function layoutsOf(steps: Steps, tuned: readonly Tuned[]): Steps {
  const best = tuned.reduce((a, b) => (rankOf(b) > rankOf(a) ? b : a));
  return mapMatrices(steps, (step) => {
    const found = best.shapes.find(({ m, k }) => m === step.m && k === step.k);
    if (!found) return [{ ...step, reason: 'heuristic' }];
    const { rows, columns, held } = found.layouts.find(({ layout }) => layout === found.layout)!.kernels.one.tile;
    const tile = held === undefined ? {} : { tile: { BM: rows, BK: columns, bm: held } };
    return [{ ...step, layout: layoutOf(found.layout).id, ...tile, reason: found.reason }];
  });
}

/** The matrices that are read in part have the layout for it. */
function mapMatrices(steps: Steps, map: (step: BitLinear) => Step[]): Steps {
  return {
    ...steps,
    layer: steps.layer.flatMap((step) => (step.op === 'bitlinear' && !step.skips ? map(step) : [step])),
  };
}

/** One step for each part, which writes where the fused matrix would have. */
function split(step: BitLinear, parts: readonly Tiled[]): Step[] {
  let { row } = step;
  return parts.map(({ name, rows, tile, reason }): Step => {
    const [use] = Object.entries(MATRICES).find(([, names]) => names.length === 1 && names[0] === name)!;
    const one = { ...step, use, codes: use, scales: `${use}_scales`, m: pad16(rows), row, tile, reason };
    row += pad16(rows);
    return one;
  });
}

/** The tile of every projection: its section's, or one that suits all that have none. */
function tilesOf(ir: ModelIR, layout: Layout, config: KernelConfig | undefined): Map<string, Tiled> {
  const linears = layerLinears(ir);
  const sections = new Map<Linear, KernelSection>();
  for (const linear of linears) {
    const section = config && sectionFor(config, linear.rows, linear.cols);
    if (!section) continue;
    const error = misfit(config, section, layout);
    if (error) throw error;
    sections.set(linear, section);
  }
  if (config && sections.size === 0) throw foreign(ir, config);
  const rest = linears.filter((linear) => !sections.has(linear)).map(({ rows }) => rows);
  const tiled = linears.map((linear): Tiled => {
    const { name, rows, cols } = linear;
    const section = sections.get(linear);
    if (section) {
      const { BM, BK, bm } = section;
      return { name, rows, tile: { BM, BK, bm }, reason: `${basename(config!.file)} [${section.name}]` };
    }
    const kind = layout.id.split('_')[0];
    const why = config ? `${basename(config.file)} has no section for ${rows} × ${cols}` : `${kind} was asked for`;
    return { name, rows, tile: defaultTableTile(layout, rest, cols), reason: `${why}: default tile` };
  });
  return new Map(tiled.map((part) => [part.name, part]));
}

function shapesOf(ir: ModelIR): string {
  return [...new Set(layerLinears(ir).map(({ rows, cols }) => `${rows} × ${cols}`))].join(', ');
}

function foreign(ir: ModelIR, config: KernelConfig): BitnetError {
  return new BitnetError(`${config.file} has no section for any matrix of this model`, {
    hint: `its matrices (m × k) are ${shapesOf(ir)}`,
  });
}

/** Which kernel's tiles a configuration holds: the one they fit. */
function kindOf(ir: ModelIR, config: KernelConfig): KernelKind {
  const used = layerLinears(ir).flatMap(({ rows, cols }) => sectionFor(config, rows, cols) ?? []);
  if (used.length === 0) throw foreign(ir, config);
  const kinds = ['tl1', 'tl2'] as const;
  const errors = kinds.map((kind) => used.map((section) => misfit(config, section, LAYOUTS[kind])).find(Boolean));
  const fitting = kinds.filter((_, i) => !errors[i]);
  if (fitting.length === 1) return fitting[0];
  if (fitting.length === 0) {
    const [first, second] = errors.map((error) => `${error!.message} (${error!.hint})`);
    throw new BitnetError(`${config.file} holds the tiles of neither tl1 nor tl2:\n  ${first}\n  ${second}`, {
      hint: 'mend the file, or ask for kernel i2, which has no such tiles',
    });
  }
  const stored = kinds.find((kind) => ir.tensors.some(({ encoding }) => encoding === kind));
  if (stored) return stored;
  throw new BitnetError(`the tiles of ${config.file} suit both tl1 and tl2`, {
    hint: 'ask for the kernel, too: tl1 or tl2',
  });
}

/** The tiles of a plan as sections of a kernel .ini, one for each shape of projection; none where the layout has none. */
export function sectionsOf(ir: ModelIR, { layer }: Pick<Steps, 'layer'>): KernelSection[] {
  const linears = layerLinears(ir);
  const tiles = layer.flatMap((step) => {
    const tile = step.op === 'bitlinear' && step.tile;
    if (!tile) return [];
    return MATRICES[step.use].map((name) => {
      const { rows: m, cols: k } = linears.find((linear) => linear.name === name)!;
      return { m, k, ...tile };
    });
  });
  return numberSections(tiles);
}
