import { stat } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import type { OwnGpu } from '../build/own-gpus.ts';
import type { ModelIR } from '../ir/model.ts';
import { type PlanRequest, planForGpu, planModel } from '../passes/index.ts';
import { COMPILER_VERSION } from '../version.ts';
import { type MatrixShape, shapesOf } from './candidates.ts';
import { type TuningMachine, tuningMachine } from './machine.ts';
import { readTuned, staleReasons, type Tuned, tunedPath } from './tuned-file.ts';

/** A target that is compiled for; the compiler where it is known. */
export interface TunedTarget {
  readonly target: { readonly id: string };
  readonly compiler?: { readonly version: string };
}

/** Where what is compiled may run, and what may have been tuned for it. */
export interface TunedSite {
  /** This machine; where GPUs run the model, with each of them. */
  readonly machines: readonly TuningMachine[];
  /** Of GPUs, those that code is generated for: tiles suit one. */
  readonly architectures?: readonly string[];
  shapes(request?: PlanRequest): MatrixShape[];
}

const cpuSite = (ir: ModelIR): TunedSite => ({
  machines: [tuningMachine()],
  shapes: (request) => shapesOf(planModel(ir, request)),
});

/** What runs a model that is compiled for GPUs. */
export function gpuSite(ir: ModelIR, gpus: readonly OwnGpu[], architectures?: readonly string[]): TunedSite {
  const machine = tuningMachine();
  return {
    machines: gpus.length > 0 ? gpus.map((gpu) => ({ ...machine, gpu })) : [machine],
    ...(architectures ? { architectures } : {}),
    shapes: () => shapesOf(planForGpu(ir)),
  };
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
  site: TunedSite = cpuSite(ir),
): Promise<TunedRequest> {
  const { tuned: named, threads, ...rest } = request;
  const asked = rest.kernel !== undefined && rest.kernel !== 'auto';
  if (named && named.length > 0) {
    if (asked)
      throw new BitnetError(`kernel ${rest.kernel} and a tuned file were both asked for`, { hint: 'leave one out' });
    for (const tuned of named) refuseForeign(tuned, targets, site, threads);
    return { request: settled({ ...rest, config: undefined }, named), files: [], notices: [] };
  }
  if (named === false || asked || rest.config) return { request: rest, files: [], notices: [] };
  const shapes = site.shapes(rest);
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
    const reasons = reasonsOf(tuned, site, target.id, compiler?.version, threads);
    if (reasons.length > 0) {
      notices.push(`${file} is not used, ${reasons.join(', ')}: ${AGAIN}`);
      continue;
    }
    found.push(tuned);
    files.push({ target: target.id, file });
  }
  return { request: settled(rest, found), files, notices };
}

/** Why a tuned file is stale: on none of the machines that may run the model it was measured, and with what it is compiled. */
function reasonsOf(
  tuned: Tuned,
  { machines, architectures }: TunedSite,
  target: string,
  compiler?: string,
  threads?: number,
): string[] {
  const key = { target, compiler, threads, architectures, version: COMPILER_VERSION };
  const all = machines.map((machine) => staleReasons(tuned, { ...key, machine }));
  return all.reduce((least, reasons) => (reasons.length < least.length ? reasons : least));
}

function refuseForeign(tuned: Tuned, targets: readonly TunedTarget[], site: TunedSite, threads?: number): void {
  const used = targets.find(({ target }) => target.id === tuned.target);
  const ids = targets.map(({ target }) => target.id);
  const reasons = reasonsOf(tuned, site, used ? tuned.target : ids.join(', '), used?.compiler?.version, threads);
  if (reasons.length > 0) {
    throw new BitnetError(`the tuned file of ${tuned.model} is stale: ${reasons.join('; ')}`, { hint: AGAIN });
  }
  const has = ({ m, k }: { m: number; k: number }) => tuned.shapes.some((shape) => shape.m === m && shape.k === k);
  const shapes = site.shapes();
  const missing = shapes.filter((shape) => !has(shape));
  if (missing.length === 0 || tuned.choice === 'default') return;
  const list = missing.map(({ m, k }) => `${m} × ${k}`).join(', ');
  if (missing.length === shapes.length || tuned.complete) {
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
