import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { cuda } from '../../targets/index.ts';
import { cacheFolder } from '../build/cache-folder.ts';
import type { GpuCompiler } from '../build/gpu-compiler.ts';
import { gpuLibraryKey, writeGpuLibrary } from '../build/gpu-program.ts';
import type { OwnGpu } from '../build/own-gpus.ts';
import type { ModelIR } from '../ir/model.ts';
import { defaultGpuTile, type GpuTile, gpuKernel, t16 } from '../kernels/bitlinear-t16.ts';
import { gpuTiles } from '../kernels/gpu-tiles.ts';
import { planForGpu } from '../passes/index.ts';
import { renderTuning } from '../render/cuda/tuning.ts';
import type { BatchClass, BuiltKernels, TuningBed, TuningBench } from './bed.ts';
import { type Candidate, type MatrixShape, shapesOf } from './candidates.ts';
import { GpuChecker } from './gpu-check.ts';
import { gpuCost } from './gpu-cost.ts';
import { tuningMachine } from './machine.ts';
import type { GpuWorkbench, TuningRuntime } from './workbench.ts';

/** Tokens that kernels of a GPU are timed with. */
export const GPU_BATCHES: Readonly<Record<BatchClass, number>> = { one: 1, few: 16, some: 64, many: 2048 };

/**
 * Kernels that follow each other overlap, more where they take less of a multiprocessor: what one gains by itself and a step
 * does not is of this order. On an H200 tiles that were 0.2 µs faster made steps 1 µs a layer slower, and one of 0.4 changed nothing.
 */
const LEAST = 500;

/** Tiles to try of each kernel family, beside the default one. */
export interface GpuCandidateOptions {
  readonly keep: number;
  readonly capability: number;
}

/**
 * The kernels that can compute a shape for one batch class on a GPU: the default one, and of each family the `keep` that
 * should cost least. In order of cost, family by family.
 */
export function gpuCandidates(
  shape: MatrixShape,
  takes: BatchClass,
  { keep, capability }: GpuCandidateOptions,
): Candidate[] {
  const tokens = GPU_BATCHES[takes];
  const candidate = (tile: GpuTile, isDefault: boolean): Candidate => ({
    spec: gpuKernel(shape, tile, 'tuning'),
    layout: t16.id,
    takes,
    tokens,
    isDefault,
    cost: gpuCost(takes, shape, tile, tokens),
  });
  const standard = candidate(defaultGpuTile(takes, shape, capability === 90), true);
  const others = gpuTiles(takes, shape, capability)
    .map((tile) => candidate(tile, false))
    .filter(({ spec }) => spec.name !== standard.spec.name)
    .sort((a, b) => a.cost.cycles - b.cost.cycles);
  const families = [...new Set(others.map(({ spec }) => spec.family))];
  const cheapest = families.flatMap((family) => others.filter(({ spec }) => spec.family === family).slice(0, keep));
  return [standard, ...cheapest];
}

export interface GpuBedOptions {
  /** Which of the GPUs. */
  readonly device: number;
  readonly keep: number;
}

/** One of this machine's GPUs. Throws a BitnetError where it is not there, or nothing can be compiled for it. */
export function gpuOf(gpus: readonly OwnGpu[], device: number): OwnGpu {
  const gpu = gpus[device];
  if (!gpu) {
    throw new BitnetError(
      gpus.length === 0
        ? `target ${cuda.id} cannot be tuned: NVIDIA's driver finds no GPU`
        : `there is no GPU ${device}, only ${gpus.map(({ name }, i) => `${i} (${name})`).join(', ')}`,
      { hint: 'tune a model where it is to run' },
    );
  }
  const architecture = `sm_${gpu.capability}`;
  if (cuda.architectures.includes(architecture)) return gpu;
  throw new BitnetError(`${gpu.name} is ${architecture}, which target ${cuda.id} does not know`, {
    hint: `architectures: ${cuda.architectures.join(', ')}`,
  });
}

/** A GPU, which is number `device` here. */
export function gpuBed(
  ir: ModelIR,
  gpu: OwnGpu,
  compiler: GpuCompiler,
  runtime: TuningRuntime,
  { device, keep }: GpuBedOptions,
): TuningBed {
  const { capability } = gpu;
  const architecture = `sm_${capability}`;
  const plan = planForGpu(ir);
  const matrices = plan.layer.filter((step) => step.op === 'bitlinear');
  const build = async (
    { m, k }: MatrixShape,
    takes: BatchClass,
    specs: Parameters<TuningBed['build']>[2],
    signal?: AbortSignal,
  ): Promise<BuiltKernels> => {
    const step = matrices.find((one) => one.m === m && one.k === k)!;
    const sources = renderTuning(plan, step, takes, specs);
    const key = gpuLibraryKey(sources, compiler, [architecture]);
    const folder = cacheFolder('tuned', `kernels-${process.pid}-${key.slice(0, 12)}`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await writeGpuLibrary(folder, sources, compiler, [architecture], signal);
    return { key, folder, library: join(folder, compiler.library) };
  };
  return {
    target: cuda.id,
    compiler: compiler.version,
    machine: { ...tuningMachine(), gpu },
    threads: 1,
    shapes: shapesOf(plan),
    standard: t16.id,
    least: LEAST,
    batches: GPU_BATCHES,
    variants: [],
    ahead: availableParallelism(),
    candidates: (shape, takes) => gpuCandidates(shape, takes, { keep, capability }),
    build,
    bench: async () => new GpuTuningBench(await runtime.gpuBench(device)),
  };
}

class GpuTuningBench implements TuningBench {
  readonly #bench: GpuWorkbench;
  readonly #checkers = new Map<string, GpuChecker>();
  #checker: GpuChecker | undefined;

  constructor(bench: GpuWorkbench) {
    this.#bench = bench;
  }

  async open({ library }: BuiltKernels, shape: MatrixShape): Promise<void> {
    const key = `${shape.m} ${shape.k}`;
    this.#checker = this.#checkers.get(key) ?? new GpuChecker(shape);
    this.#checkers.set(key, this.#checker);
    await this.#bench.open(library, this.#checker.layer);
  }

  isExact({ spec, takes }: Candidate): Promise<boolean> {
    return this.#checker!.isExact(this.#bench, spec.name, takes);
  }

  time({ spec, tokens }: Candidate, rounds: number): Promise<number> {
    return this.#bench.time(spec.name, tokens, rounds);
  }

  limits() {
    return this.#bench.limits();
  }
}
