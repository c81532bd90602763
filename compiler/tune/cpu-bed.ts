import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Target } from '../../targets/index.ts';
import { cacheFolder } from '../build/cache-folder.ts';
import { libraryFile, libraryKey, writeLibrary } from '../build/library.ts';
import type { Compiler } from '../build/toolchain.ts';
import type { ModelIR } from '../ir/model.ts';
import type { Plan } from '../ir/plan.ts';
import type { KernelSpec } from '../kernels/spec.ts';
import { planModel } from '../passes/index.ts';
import { renderKernels } from '../render/index.ts';
import type { BatchClass, BuiltKernels, TuningBed, TuningBench, Variant } from './bed.ts';
import { BATCHES, type Candidate, candidatesFor, type MatrixShape, shapesOf } from './candidates.ts';
import { Checker } from './check.ts';
import { tuningMachine } from './machine.ts';
import type { TuningRuntime, Workbench } from './workbench.ts';

/** What leaves weights unread pays by what the hidden values are like, and by how fast the memory is. */
function variantsOf({ layer, weights }: Plan): Variant[] {
  const skips = layer.some((step) => step.op === 'bitlinear' && step.skips !== undefined);
  const screens = weights.shared.some(({ kind }) => kind === 'screen');
  return [
    ...(skips ? [{ name: 'every-weight', settings: { skipZeros: false } }] : []),
    ...(screens ? [{ name: 'whole-head', settings: { screen: 0 } as const }] : []),
  ];
}

export interface CpuBedOptions {
  readonly threads: number;
  /** Tiles to try of each kernel family, shape and batch class, beside the default one. */
  readonly keep: number;
}

/** This machine's own CPU. */
export function cpuBed(
  ir: ModelIR,
  target: Target,
  compiler: Compiler,
  runtime: TuningRuntime,
  { threads, keep }: CpuBedOptions,
): TuningBed {
  const machine = tuningMachine();
  const plan = planModel(ir);
  return {
    target: target.id,
    compiler: compiler.version,
    machine,
    threads,
    shapes: shapesOf(plan),
    standard: plan.layer.find((step) => step.op === 'bitlinear')!.layout,
    least: 0,
    batches: BATCHES,
    variants: variantsOf(plan),
    // Compilers would take the cores that kernels are timed on.
    ahead: 0,
    candidates: (shape, takes) => candidatesFor(shape, cpuClass(takes), target, { keep, caches: machine.caches }),
    build: (_shape, _takes, specs, signal) => build(specs, target, compiler, signal),
    bench: async () => new CpuBench(await runtime.workbench(threads)),
  };
}

function cpuClass(takes: BatchClass): 'one' | 'many' {
  if (takes === 'one' || takes === 'many') return takes;
  throw new Error(`kernels of CPUs are not for ${takes} tokens`);
}

async function build(
  specs: readonly KernelSpec[],
  target: Target,
  compiler: Compiler,
  signal?: AbortSignal,
): Promise<BuiltKernels> {
  const sources = renderKernels(specs, target, Math.max(...Object.values(BATCHES)));
  const key = libraryKey(sources, target, compiler);
  // A system keeps one library for each path: every one has its own.
  const folder = cacheFolder('tuned', `kernels-${process.pid}-${key.slice(0, 12)}`);
  await rm(folder, { recursive: true, force: true });
  await writeLibrary(folder, sources, target, compiler, signal);
  return { key, folder, library: join(folder, libraryFile(target)) };
}

class CpuBench implements TuningBench {
  readonly #bench: Workbench;
  #checker: Checker | undefined;

  constructor(bench: Workbench) {
    this.#bench = bench;
  }

  async open({ library }: BuiltKernels, shape: MatrixShape): Promise<void> {
    await this.#bench.open(library);
    this.#checker = new Checker(shape);
  }

  isExact({ spec, layout, takes }: Candidate): Promise<boolean> {
    return this.#checker!.isExact(this.#bench, { spec, layout, takes: cpuClass(takes) });
  }

  time({ spec, takes, tokens }: Candidate, rounds: number): Promise<number> {
    const { rows, held = rows } = spec.tile;
    return this.#bench.time(spec.name, tokens, (takes === 'one' ? held : rows) / 16, rounds);
  }

  limits() {
    return this.#bench.limits();
  }
}
