import { BitnetError } from '../errors.ts';
import {
  cuda,
  type GpuTarget,
  gpuTargetOf,
  isGpu,
  parseTargets,
  type Target,
  webgl,
  webgpu,
} from '../targets/index.ts';
import { type BuildOptions, type BuiltArtifact, buildArtifact, type Program } from './build/artifact.ts';
import { driverProgram } from './build/driver-program.ts';
import { findGpuCompiler } from './build/find-gpu-compiler.ts';
import type { GpuCompiler } from './build/gpu-compiler.ts';
import { gpuProgram, parseArchitectures } from './build/gpu-program.ts';
import { cpuProgram } from './build/library.ts';
import { ownGpus } from './build/own-gpus.ts';
import { type Compiler, findCompiler } from './build/toolchain.ts';
import { resolveModel } from './hub/resolve.ts';
import { type ImportOptions, importModel } from './import/index.ts';
import type { ModelIR } from './ir/model.ts';
import type { Plan } from './ir/plan.ts';
import type { KernelSection } from './kernels/config.ts';
import { sectionsOf } from './passes/choose-kernels.ts';
import { type PlanRequest, planForGpu, planForWebGl, planModel } from './passes/index.ts';
import { selectGpuKernels } from './passes/select-gpu-kernels.ts';
import { type Choice, distinctKernels, selectKernels } from './passes/select-kernels.ts';
import { selectWebGlKernels } from './passes/select-webgl-kernels.ts';
import { selectWebGpuKernels } from './passes/select-webgpu-kernels.ts';
import { checkGpus } from './passes/share-gpus.ts';
import { renderCuda } from './render/cuda/index.ts';
import { renderSources, type Source } from './render/index.ts';
import { kernelSources, renderWebGl } from './render/webgl/index.ts';
import { renderWebGpu, shaderSources } from './render/wgsl/index.ts';
import { systemErrors } from './system-errors.ts';
import { applyTuned, gpuSite, type TunedRequest } from './tune/apply.ts';

/** What a model file does not say of itself, how its matrices should be multiplied, and how its head is stored. */
export type LowerOptions = ImportOptions & PlanRequest;

export interface CompileOptions extends Partial<BuildOptions>, LowerOptions {
  /** `native` (the best for this machine), `all` CPU targets, ids with commas, `cuda`, `webgpu`, or `webgl`. Default `native`. */
  readonly target?: string;
  /** Threads that it will run on, where that is known: what was tuned for other ones is stale. */
  readonly threads?: number;
  /** For `cuda`: GPU architectures with commas, as `sm_90`. Default: those of this machine's GPUs, or all. */
  readonly arch?: string;
  /** For `cuda`: GPUs that share the model, each with some rows of every matrix. Default 1. */
  readonly gpus?: number;
}

export interface CompileResult extends BuiltArtifact {
  /** Names of the kernels of the targets asked for. */
  readonly kernels: readonly string[];
  /** Tiles of table look-ups by shape, as `config` takes them: compiled again with them, the kernels are the same. */
  readonly sections: readonly KernelSection[];
  /** Tuned files of earlier tunings that were used, by target. */
  readonly tuned: TunedRequest['files'];
  /** Why a tuned file that is there was not used. */
  readonly notices: readonly string[];
  /** Targets of `all` that cannot be built here, and why. */
  readonly skipped: readonly { readonly target: string; readonly reason: string }[];
}

/** What a model becomes on the way to an artifact, for one target. */
export interface Stages {
  readonly ir: ModelIR;
  readonly plan: Plan;
  readonly kernels: readonly Choice[];
  /** See CompileResult. */
  readonly sections: readonly KernelSection[];
  readonly sources: readonly Source[];
}

/**
 * The pure part of the compiler: model file → ModelIR → Plan → kernels → sources. Nothing is written. Where several targets
 * are compiled together, `together` are all of them: one layout of the weights serves them all.
 */
export async function lowerModel(
  source: string,
  target: Target | GpuTarget,
  options: LowerOptions & Pick<CompileOptions, 'gpus'> = {},
  together: readonly (Target | GpuTarget)[] = [target],
): Promise<Stages> {
  const ir = await importModel(await resolveModel(source), options);
  if (isGpu(target)) {
    const lowerForDriver = FOR_DRIVERS.get(target.id);
    if (lowerForDriver) {
      const { plan, kernels, sources } = lowerForDriver(ir, options);
      return { ir, plan, kernels, sections: [], sources };
    }
    const { plan, kernels, sources } = await lowerForGpu(ir, options);
    return { ir, plan, kernels, sections: [], sources };
  }
  const { request } = await applyTuned(
    ir,
    together.flatMap((one) => (isGpu(one) ? [] : { target: one })),
    options,
  );
  const plan = planModel(ir, request);
  const kernels = selectKernels(plan, target, request.tuned);
  const sources = renderSources(plan, target, kernels);
  return { ir, plan, kernels, sections: sectionsOf(ir, plan), sources };
}

interface LoweredForDriver {
  readonly plan: Plan;
  readonly kernels: readonly Choice[];
  /** Of the program, but for its key; and its kernels, to be read. */
  readonly contents: object;
  readonly sources: readonly Source[];
}

type LowerForDriver = (ir: ModelIR, options: PlanRequest) => LoweredForDriver;

/** The same for targets whose driver compiles the kernels, by their ids. */
const FOR_DRIVERS: ReadonlyMap<string, LowerForDriver> = new Map<string, LowerForDriver>([
  [
    webgpu.id,
    (ir, options) => {
      const plan = planForGpu(ir, options);
      const contents = renderWebGpu(plan);
      return { plan, kernels: selectWebGpuKernels(plan), contents, sources: shaderSources(contents) };
    },
  ],
  [
    webgl.id,
    (ir, options) => {
      const plan = planForWebGl(ir, options);
      const contents = renderWebGl(plan);
      return { plan, kernels: selectWebGlKernels(plan), contents, sources: kernelSources(contents) };
    },
  ],
]);

/** The same for NVIDIA's GPUs, with what tuning has to say of it. */
async function lowerForGpu(
  ir: ModelIR,
  options: PlanRequest & Pick<CompileOptions, 'gpus'>,
  compiler?: GpuCompiler,
  architectures?: readonly string[],
) {
  const gpus = checkGpus(options.gpus);
  const { gpus: _, ...asked } = options;
  const plan = planForGpu(ir, asked);
  const site = gpuSite(ir, await ownGpus(), architectures);
  const { request, files, notices } = await applyTuned(ir, [{ target: cuda, compiler }], asked, site);
  const tuned = request.tuned ? request.tuned[0] : undefined;
  const kernels = selectGpuKernels(plan, gpus, tuned);
  return { plan, gpus, kernels, sources: renderCuda(plan, gpus, tuned), files, notices };
}

/**
 * Compiles a model file into an artifact: a folder with packed weights, tokenizer, and a program for each target.
 * What is there already and still right is left as it is, so a second compilation is instant.
 *
 * Throws a BitnetError for a model that cannot be read or is not supported, for a kernel .ini that does not suit it, and
 * where a compiler is missing or fails.
 */
export async function compile(source: string, options: CompileOptions = {}): Promise<CompileResult> {
  const { target: wanted = 'native', out = 'generated', onProgress, signal } = options;
  return systemErrors(async () => {
    const ir = await importModel(await resolveModel(source), options);
    for (const option of ['arch', 'gpus'] as const) {
      if (options[option] === undefined || wanted === cuda.id) continue;
      throw new BitnetError(`option ${option} is for target ${cuda.id}, and this is ${wanted}`, {
        hint: 'leave it out',
      });
    }
    if (wanted === cuda.id) {
      const compiler = await findGpuCompiler();
      const architectures = await parseArchitectures(options.arch, compiler);
      const lowered = await lowerForGpu(ir, options, compiler, architectures);
      const program = gpuProgram(lowered.kernels, lowered.sources, compiler, architectures, lowered.gpus);
      const built = await buildArtifact(ir, lowered.plan, [program], { out, onProgress, signal });
      const kernels = distinctKernels(lowered.kernels).map(({ name }) => name);
      return { ...built, kernels, sections: [], tuned: lowered.files, notices: lowered.notices, skipped: [] };
    }
    const lowerForDriver = FOR_DRIVERS.get(wanted);
    if (lowerForDriver) {
      const { plan, kernels: choices, contents, sources } = lowerForDriver(ir, options);
      const program = driverProgram(gpuTargetOf(wanted)!, choices, contents, sources);
      const built = await buildArtifact(ir, plan, [program], { out, onProgress, signal });
      const kernels = distinctKernels(choices).map(({ name }) => name);
      return { ...built, kernels, sections: [], tuned: [], notices: [], skipped: [] };
    }
    const { toolchains, skipped } = await findToolchains(parseTargets(wanted), wanted === 'all');
    const { request, files, notices } = await applyTuned(ir, toolchains, options);
    const plan = planModel(ir, request);
    const programs = toolchains.map(({ target, compiler }): Program => {
      const choices = selectKernels(plan, target, request.tuned);
      return cpuProgram(target, choices, renderSources(plan, target, choices), compiler);
    });
    const built = await buildArtifact(ir, plan, programs, { out, onProgress, signal });
    const kernels = programs.flatMap(({ choices }) => distinctKernels(choices).map(({ name }) => name));
    return { ...built, kernels, sections: sectionsOf(ir, plan), tuned: files, notices, skipped };
  });
}

async function findToolchains(targets: readonly Target[], lenient: boolean) {
  const toolchains: { target: Target; compiler: Compiler }[] = [];
  const skipped: { target: string; reason: string }[] = [];
  for (const target of targets) {
    try {
      toolchains.push({ target, compiler: await findCompiler(target) });
    } catch (error) {
      if (!(lenient && error instanceof BitnetError)) throw error;
      skipped.push({ target: target.id, reason: error.hint ? `${error.message}: ${error.hint}` : error.message });
    }
  }
  return { toolchains, skipped };
}
