import { stat } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import type { Target } from '../../targets/target.ts';
import type { ModelIR } from '../ir/model.ts';
import { type PlanRequest, planModel } from '../passes/index.ts';
import { COMPILER_VERSION } from '../version.ts';
import { shapesOf } from './candidates.ts';
import { tuningMachine } from './machine.ts';
import { readTuned, staleReasons, type Tuned, tunedPath } from './tuned-file.ts';

/** A target that is compiled for; the compiler where it is known. */
export interface TunedTarget {
  readonly target: Target;
  readonly compiler?: { readonly version: string };
}

/** What is compiled, with what tuning has to say of it. */
export interface TunedRequest {
  readonly request: PlanRequest;
  /** The tuned files that are used, or would be. */
  readonly files: readonly { readonly target: string; readonly file: string }[];
  /** Why a tuned file that is there is not used. */
  readonly notices: readonly string[];
}

const AGAIN = 'tune the model again: bitnet tune MODEL';

/**
 * What a request comes to with the tuned files that were named, or with those of earlier tunings of the model on this
 * machine where nothing else was asked for.
 *
 * Throws a BitnetError for a named one that is stale or of other matrices. One that was found and is stale is left out, and
 * a notice says why.
 */
export async function applyTuned(
  ir: ModelIR,
  targets: readonly TunedTarget[],
  request: PlanRequest & { readonly threads?: number },
): Promise<TunedRequest> {
  const { tuned: named, threads, ...rest } = request;
  const asked = rest.kernel !== undefined && rest.kernel !== 'auto';
  if (named && named.length > 0) {
    if (asked)
      throw new BitnetError(`kernel ${rest.kernel} and a tuned file were both asked for`, { hint: 'leave one out' });
    for (const tuned of named) refuseForeign(ir, tuned, targets, threads);
    return { request: settled({ ...rest, config: undefined }, named), files: [], notices: [] };
  }
  if (named === false || asked || rest.config) return { request: rest, files: [], notices: [] };
  const shapes = shapesOf(planModel(ir, rest));
  const found: Tuned[] = [];
  const files: { target: string; file: string }[] = [];
  const notices: string[] = [];
  for (const { target, compiler } of targets) {
    const file = tunedPath(ir.architecture, shapes, target.id);
    if (!(await stat(file).catch(() => undefined))) continue;
    const tuned = await readTuned(file).catch((error: unknown) => {
      if (!(error instanceof BitnetError)) throw error;
      notices.push(`${error.message}: it is not used; ${AGAIN}`);
    });
    if (!tuned) continue;
    const reasons = staleReasons(tuned, keyOf(target.id, compiler?.version, threads));
    if (reasons.length > 0) {
      notices.push(`${file} is not used, ${reasons.join(', ')}: ${AGAIN}`);
      continue;
    }
    found.push(tuned);
    files.push({ target: target.id, file });
  }
  return { request: settled(rest, found), files, notices };
}

const keyOf = (target: string, compiler?: string, threads?: number) => ({
  machine: tuningMachine(),
  target,
  compiler,
  threads,
  version: COMPILER_VERSION,
});

function refuseForeign(ir: ModelIR, tuned: Tuned, targets: readonly TunedTarget[], threads?: number): void {
  const used = targets.find(({ target }) => target.id === tuned.target);
  const ids = targets.map(({ target }) => target.id);
  const reasons = staleReasons(tuned, keyOf(used ? tuned.target : ids.join(', '), used?.compiler?.version, threads));
  if (reasons.length > 0) {
    throw new BitnetError(`the tuned file of ${tuned.model} is stale: ${reasons.join('; ')}`, { hint: AGAIN });
  }
  const has = ({ m, k }: { m: number; k: number }) => tuned.shapes.some((shape) => shape.m === m && shape.k === k);
  const missing = shapesOf(planModel(ir)).filter((shape) => !has(shape));
  if (missing.length === 0 || tuned.choice === 'default') return;
  const list = missing.map(({ m, k }) => `${m} × ${k}`).join(', ');
  if (missing.length === shapesOf(planModel(ir)).length || tuned.complete) {
    throw new BitnetError(`the tuned file of ${tuned.model} is of other matrices: it has none of ${list}`, {
      hint: AGAIN,
    });
  }
}

/** The request with the settings and the kernels of tuned files that found something better than the default. */
function settled(request: PlanRequest, tuned: readonly Tuned[]): PlanRequest {
  const better = tuned.filter(({ choice }) => choice === 'tuned');
  const settings = Object.assign({}, ...better.map((file) => file.settings)) as Partial<PlanRequest>;
  const given = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== undefined));
  return { ...settings, ...given, tuned: better };
}
