import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { WASM } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import { estimate } from '../../statistics.ts';
import { cuda, nativeTarget, parseTargets, requireRunnable, webgpu } from '../../targets/index.ts';
import { cacheFolder } from '../build/cache-folder.ts';
import { findGpuCompiler } from '../build/find-gpu-compiler.ts';
import { sha256 } from '../build/fingerprint.ts';
import { withLock } from '../build/lock.ts';
import { ownGpus } from '../build/own-gpus.ts';
import { findCompiler } from '../build/toolchain.ts';
import { resolveModel } from '../hub/resolve.ts';
import { importModel } from '../import/index.ts';
import type { ModelIR } from '../ir/model.ts';
import { formatTile } from '../kernels/name.ts';
import type { PlanRequest } from '../passes/index.ts';
import { type CompileOptions, compile, type LowerOptions } from '../pipeline.ts';
import { systemErrors } from '../system-errors.ts';
import { COMPILER_VERSION } from '../version.ts';
import type { BatchClass, BuiltKernels, TuningBed, TuningBench, Variant } from './bed.ts';
import type { Candidate, MatrixShape } from './candidates.ts';
import { chooseForShape, isFaster, type Tried, trialSeconds } from './choose.ts';
import { cpuBed } from './cpu-bed.ts';
import { eliminate } from './eliminate.ts';
import { gpuBed, gpuOf } from './gpu-bed.ts';
import { linkArtifact } from './link-artifact.ts';
import { readState, removeState, type TuningState, writeState } from './state.ts';
import { type Tuned, type TunedShape, type TunedTrial, tunedPath, writeTuned } from './tuned-file.ts';
import type { ModelTrial, TuningRuntime } from './workbench.ts';

/** What a tuning is at. */
export interface TuningProgress {
  /** `lock`: another tuning has the machine. `notice`: something to know, once. */
  readonly stage: 'lock' | 'notice' | 'build' | 'check' | 'kernels' | 'model';
  readonly message: string;
  /** Of the best so far, where there is one. */
  readonly best?: string;
  /** Of the time. */
  readonly fraction: number;
  readonly secondsLeft: number;
}

export interface TuneOptions extends LowerOptions, Pick<CompileOptions, 'signal'> {
  /** One that this machine runs. Default: its best. */
  readonly target?: string;
  /** Threads that the model will run on. */
  readonly threads: number;
  /** For `cuda`: the GPU that it is tuned on. Default 0. */
  readonly device?: number;
  /** For all of it, about. Default 10. */
  readonly minutes?: number;
  /** The tuned file. Default: where compiling the model looks for it. */
  readonly file?: string;
  /** Folder of artifacts. Default `generated`. */
  readonly out?: string;
  /** Whether what an earlier tuning measured is thrown away. */
  readonly fresh?: boolean;
  /**
   * Settings that are tried on the whole model, each alone on top of the tuned kernels. None may change a result.
   * Default: without what leaves weights unread, where the model has it.
   */
  readonly variants?: readonly Variant[];
  /** Tiles to try of each kernel family, shape and batch class, beside the default one. Default 8. */
  readonly keep?: number;
  readonly onProgress?: (progress: TuningProgress) => void;
}

export interface TuneResult {
  readonly tuned: Tuned;
  /** Where it was written. */
  readonly file: string;
}

/** Nanoseconds that one sample of a kernel should take: long against asking for it. */
const SAMPLE_NS = 4e6;
/** Share of the time that single kernels get; whole models get the rest. */
const KERNELS = 0.65;
/** Rounds of whole models: the fewest whose median has an interval of 95%, and the most. */
const TRIALS = { least: 4, most: 12 };
/** Milliseconds between two writings of the state. */
const SAVE_MS = 2000;

/**
 * Measures which tile each ternary kernel of a model should have on this machine, and which layout each matrix, and then
 * whole models, and writes a tuned file that compiling the model uses.
 *
 * Every candidate is checked bit for bit before it is timed. What was measured is kept beside the tuned file until all is
 * done: when time runs out or the signal comes, the next tuning goes on there.
 *
 * Throws a BitnetError for a model that cannot be read, a target that this machine cannot run, where a compiler is missing,
 * and where files cannot be written.
 */
export function tuneModel(source: string, runtime: TuningRuntime, options: TuneOptions): Promise<TuneResult> {
  return systemErrors(async () => {
    const ir = await importModel(await resolveModel(source), options);
    const bed = await bedOf(ir, runtime, options);
    const tuning = new Tuning(source, ir, bed, runtime, options);
    const onWait = () => tuning.report('lock', 'waiting for another tuning on this machine');
    return withLock(cacheFolder('tuned', 'lock'), () => tuning.run(), { onWait, signal: options.signal });
  });
}

/** A whole model that is timed: seconds of a prompt, and of a new token. */
interface Running {
  readonly variant: Variant;
  readonly artifact: string;
  readonly trial: ModelTrial;
  readonly prefill: number[];
  readonly perToken: number[];
  readonly perStep: number[];
}

/** Candidates of one shape and batch class. */
interface Group {
  readonly shape: MatrixShape;
  readonly takes: BatchClass;
  readonly tried: readonly Tried[];
  readonly work: number;
}

async function bedOf(ir: ModelIR, runtime: TuningRuntime, options: TuneOptions): Promise<TuningBed> {
  const { threads, device = 0, keep = 8 } = options;
  if (options.target === cuda.id) {
    const gpu = gpuOf(await ownGpus(), device);
    return gpuBed(ir, gpu, await findGpuCompiler(), runtime, { device, keep });
  }
  if (options.target === webgpu.id) {
    throw new BitnetError(`there is nothing to tune for target ${webgpu.id}: its kernels are the same on every GPU`);
  }
  const [target, ...more] = parseTargets(options.target ?? nativeTarget().id);
  if (!target || more.length > 0) throw new BitnetError('a model is tuned for one target at a time');
  requireRunnable(target.id);
  if (target.arch === WASM) {
    throw new BitnetError(`target ${target.id} cannot be tuned: its speed is another in each engine that runs it`);
  }
  if (!(threads >= 1)) throw new BitnetError(`option threads is ${threads}: it must be 1 or more`);
  return cpuBed(ir, target, await findCompiler(target), runtime, { threads, keep });
}

/** Libraries of groups, each built once: where the bed allows it, while another one is timed. */
class Builds {
  readonly #bed: TuningBed;
  readonly #groups: readonly Group[];
  readonly #signal: AbortSignal | undefined;
  readonly #started = new Map<Group, Promise<BuiltKernels>>();

  constructor(bed: TuningBed, groups: readonly Group[], signal?: AbortSignal) {
    this.#bed = bed;
    this.#groups = groups;
    this.#signal = signal;
  }

  of(group: Group): Promise<BuiltKernels> {
    const index = this.#groups.indexOf(group);
    for (const one of this.#groups.slice(index, index + 1 + this.#bed.ahead)) {
      if (this.#started.has(one)) continue;
      const specs = one.tried.map(({ candidate }) => candidate.spec);
      const build = this.#bed.build(one.shape, one.takes, specs, this.#signal);
      build.catch(() => {}); // whoever asks for it hears of it
      this.#started.set(one, build);
    }
    return this.#started.get(group)!;
  }

  /** Waits for what is under way, and removes what nobody asked for. */
  async end(): Promise<void> {
    for (const built of await Promise.allSettled(this.#started.values())) {
      if (built.status === 'fulfilled') await rm(built.value.folder, { recursive: true, force: true });
    }
  }
}

class Tuning {
  readonly #source: string;
  readonly #ir: ModelIR;
  readonly #bed: TuningBed;
  readonly #runtime: TuningRuntime;
  readonly #options: TuneOptions;
  readonly #file: string;
  #started = performance.now();
  #state: TuningState = { format: 1, key: '', groups: {} };
  #saved = 0;
  #complete = true;

  constructor(source: string, ir: ModelIR, bed: TuningBed, runtime: TuningRuntime, options: TuneOptions) {
    this.#source = source;
    this.#ir = ir;
    this.#bed = bed;
    this.#runtime = runtime;
    this.#options = options;
    this.#file = resolve(options.file ?? tunedPath(ir.architecture, bed.shapes, bed.target));
  }

  get #milliseconds(): number {
    return 60_000 * (this.#options.minutes ?? 10);
  }

  /** Milliseconds that are left of a share of the time. */
  #left(share = 1): number {
    return this.#started + share * this.#milliseconds - performance.now();
  }

  report(stage: TuningProgress['stage'], message: string, best?: string): void {
    const left = this.#left();
    this.#options.onProgress?.({
      stage,
      message,
      ...(best === undefined ? {} : { best }),
      fraction: Math.min(1, 1 - left / this.#milliseconds),
      secondsLeft: Math.max(0, Math.round(left / 1000)),
    });
  }

  async run(): Promise<TuneResult> {
    const { fresh, signal } = this.#options;
    const { machine, target, threads, compiler } = this.#bed;
    this.#started = performance.now();
    await mkdir(dirname(this.#file), { recursive: true });
    const key = sha256(JSON.stringify([machine, target, threads, compiler, COMPILER_VERSION]));
    const kept = fresh ? undefined : await readState(this.#file, key, (problem) => this.report('notice', problem));
    this.#state = kept ?? { format: 1, key, groups: {} };
    // Whoever cannot write here should know before anything was measured.
    await writeState(this.#file, this.#state);
    // Weights beyond the caches take a while to make.
    const bench = this.#left(KERNELS) > 0 ? await this.#bed.bench() : undefined;
    const groups = this.#groups();
    const builds = new Builds(this.#bed, groups, signal);
    try {
      for (const [index, group] of groups.entries()) {
        signal?.throwIfAborted();
        if (!bench || this.#left(KERNELS) <= 0) {
          this.#complete = false;
          break;
        }
        await this.#measure(bench, group, builds, groups.length - index);
      }
    } finally {
      await builds.end();
    }
    const shapes = this.#bed.shapes.flatMap((shape) => this.#choose(shape, groups) ?? []);
    let tuned: Tuned = {
      format: 1,
      date: new Date().toISOString().slice(0, 10),
      model: this.#ir.name || 'model',
      machine: { ...machine, caches: [...machine.caches] },
      target,
      threads,
      compiler,
      version: COMPILER_VERSION,
      limits: await this.#limits(bench, groups),
      shapes,
      trials: [],
      choice: shapes.some((shape) => this.#differs(shape)) ? 'tuned' : 'default',
      settings: {},
      complete: false,
    };
    tuned = { ...tuned, ...(await this.#trials(tuned)), complete: this.#complete };
    await writeTuned(this.#file, tuned);
    if (this.#complete) await removeState(this.#file);
    return { tuned, file: this.#file };
  }

  /** What takes most of the time comes first. */
  #groups(): Group[] {
    const classes = Object.keys(this.#bed.batches) as BatchClass[];
    return classes
      .flatMap((takes) =>
        this.#bed.shapes.map((shape): Group => {
          const tried = this.#bed.candidates(shape, takes).map((candidate) => ({
            candidate,
            contestant: { name: candidate.spec.name, league: candidate.layout, samples: [], out: false },
          }));
          return { shape, takes, tried, work: shape.m * shape.k * shape.count * (takes === 'one' ? 2 : 1) };
        }),
      )
      .sort((a, b) => b.work - a.work);
  }

  async #measure(bench: TuningBench, group: Group, builds: Builds, sharers: number): Promise<void> {
    const { signal } = this.#options;
    const { m, k } = group.shape;
    const what = `${group.tried.length} kernels for ${m} × ${k}, ${this.#bed.batches[group.takes]} tokens`;
    this.report('build', `building ${what} on ${availableParallelism()} cores`);
    const built = await builds.of(group);
    // What is left is for this group and those behind it.
    const until = performance.now() + this.#left(KERNELS) / sharers;
    try {
      const kept = this.#state.groups[built.key] ?? {};
      const entries: TuningState['groups'][string] = {};
      this.#state.groups[built.key] = entries;
      await bench.open(built, group.shape);
      for (const { candidate, contestant } of group.tried) {
        signal?.throwIfAborted();
        const known = kept[contestant.name];
        this.report('check', `checking ${contestant.name}`);
        if (!known?.checked && !(await bench.isExact(candidate))) {
          this.report('notice', `${contestant.name} computes wrong here, and is left out`);
          contestant.out = true;
          continue;
        }
        contestant.samples.push(...(known?.samples ?? []));
        contestant.out = known?.out ?? false;
        entries[contestant.name] = { samples: contestant.samples, out: contestant.out, checked: true };
      }
      const running = group.tried.filter(({ contestant }) => contestant.name in entries);
      const byName = new Map(running.map(({ candidate, contestant }) => [contestant.name, candidate]));
      const rounds = new Map<string, number>();
      const contestants = running.map(({ contestant }) => contestant);
      const isOver = () => performance.now() > until;
      await eliminate(contestants, (one) => this.#sample(bench, byName.get(one.name)!, rounds), {
        isOver,
        onRound: async () => {
          signal?.throwIfAborted();
          for (const { name, out } of contestants) entries[name]!.out = out;
          await this.#save();
        },
      });
      if (isOver()) this.#complete = false;
    } finally {
      await rm(built.folder, { recursive: true, force: true });
      await this.#save(true);
    }
  }

  /** Nanoseconds of one call. */
  async #sample(bench: TuningBench, candidate: Candidate, rounds: Map<string, number>): Promise<number> {
    this.#options.signal?.throwIfAborted();
    const { spec } = candidate;
    const known = rounds.get(spec.name);
    const calls = known ?? Math.max(1, Math.round(SAMPLE_NS / (await bench.time(candidate, 1))));
    rounds.set(spec.name, calls);
    const nanoseconds = (await bench.time(candidate, calls)) / calls;
    this.report('kernels', spec.name, this.#best(spec.name, nanoseconds));
    return nanoseconds;
  }

  #leader: { name: string; nanoseconds: number; of: string } | undefined;

  /** The fastest sample of the kernels of one shape and batch class, in words. */
  #best(name: string, nanoseconds: number): string {
    const of = name.replace(/^bn_bitlinear_[a-z0-9]+_|_t[xwsn\d]+__\w+$/g, '');
    if (this.#leader?.of !== of || nanoseconds < this.#leader.nanoseconds) this.#leader = { name, nanoseconds, of };
    return `${this.#leader.name} ${(this.#leader.nanoseconds / 1000).toFixed(1)} µs`;
  }

  async #save(now = false): Promise<void> {
    if (!now && performance.now() - this.#saved < SAVE_MS) return;
    await writeState(this.#file, this.#state);
    this.#saved = performance.now();
  }

  async #limits(bench: TuningBench | undefined, groups: readonly Group[]): Promise<Tuned['limits']> {
    const measured = groups.some(({ tried }) => tried.some(({ contestant }) => contestant.samples.length > 0));
    if (!bench || !measured) return { readGBps: 0, int8GMACps: 0 };
    const { readBytesPerSecond, int8MacsPerSecond } = await bench.limits();
    return { readGBps: readBytesPerSecond / 1e9, int8GMACps: int8MacsPerSecond / 1e9 };
  }

  #choose(shape: MatrixShape, groups: readonly Group[]): TunedShape | undefined {
    const tried = (takes: BatchClass) =>
      groups.find((group) => group.shape === shape && group.takes === takes)?.tried ?? [];
    const all = { one: tried('one'), few: tried('few'), some: tried('some'), many: tried('many') };
    return chooseForShape(shape, all, this.#bed.standard, this.#bed.least);
  }

  /** Whether a shape got another kernel than the default one. */
  #differs({ layout, layouts, candidates }: TunedShape): boolean {
    if (layout !== this.#bed.standard) return true;
    const { kernels } = layouts.find((one) => one.layout === layout)!;
    return candidates.some(
      (one) =>
        one.layout === layout &&
        one.isDefault &&
        formatTile(one.tile) !== formatTile(kernels[one.takes]?.tile ?? one.tile),
    );
  }

  /** Whole models: the default, the tuned one, and that with other settings, turn about. */
  async #trials(tuned: Tuned): Promise<Pick<Tuned, 'trials' | 'choice' | 'settings'>> {
    const { choice } = tuned;
    const { variants = this.#bed.variants } = this.#options;
    const candidates: (Variant & { request: PlanRequest })[] = [
      { name: 'default', settings: {}, request: { tuned: false } },
      ...(choice === 'tuned' ? [{ name: 'tuned', settings: {}, request: { tuned: [tuned] } }] : []),
      ...variants.map((variant) => ({
        ...variant,
        request: { ...variant.settings, tuned: choice === 'tuned' ? [tuned] : (false as const) },
      })),
    ];
    const none = { trials: [], choice, settings: {} };
    if (candidates.length === 1) return none;
    if (this.#left() <= 0) {
      this.#complete = false;
      return none;
    }
    const { out = 'generated' } = this.#options;
    const folder = join(resolve(out), `.tuning-${process.pid}`);
    const running: Running[] = [];
    try {
      for (const variant of candidates) {
        const artifact = await this.#compile(variant, running[0]?.artifact, join(folder, variant.name));
        const trial = await this.#runtime.openModel(artifact, this.#bed.target, {
          threads: this.#bed.threads,
          device: this.#options.device ?? 0,
        });
        running.push({ variant, artifact, trial, prefill: [], perToken: [], perStep: [] });
      }
      for (let round = 0; round < TRIALS.most; round++) {
        if (round >= TRIALS.least && this.#left() <= 0) break;
        for (let i = 0; i < running.length; i++) {
          const { variant, trial, prefill, perToken, perStep } = running[(i + round) % running.length]!;
          this.#options.signal?.throwIfAborted();
          this.report('model', `whole model, ${variant.name}`);
          const seconds = await trial.run();
          prefill.push(seconds.prefill);
          perToken.push(seconds.perToken);
          if (seconds.perStep !== undefined) perStep.push(seconds.perStep);
        }
      }
    } finally {
      for (const { trial } of running) await trial.close();
      await rm(folder, { recursive: true, force: true });
    }
    const [standard, ...others] = running;
    let best = standard!;
    for (const one of others) if (isFaster(one, best, one.variant.name !== 'tuned')) best = one;
    return {
      trials: running.map(
        (one): TunedTrial => ({
          name: one.variant.name,
          settings: { ...one.variant.settings },
          prefill: estimate(one.prefill),
          perToken: estimate(one.perToken),
          ...(one.perStep.length > 0 ? { perStep: estimate(one.perStep) } : {}),
          seconds: estimate(trialSeconds(one)),
        }),
      ),
      choice: best === standard ? 'default' : 'tuned',
      settings: { ...best.variant.settings },
    };
  }

  /** The artifact of a variant: the default where artifacts go, any other beside it, in a folder of its own. */
  async #compile(
    { name, request }: Variant & { request: PlanRequest },
    standard: string | undefined,
    folder: string,
  ): Promise<string> {
    const { out, signal, i2sLayout, force, config } = this.#options;
    if (standard !== undefined) await linkArtifact(standard, folder);
    const { artifact } = await compile(this.#source, {
      i2sLayout,
      force,
      config,
      ...request,
      target: this.#bed.target,
      ...(this.#bed.machine.gpu ? { arch: `sm_${this.#bed.machine.gpu.capability}` } : {}),
      out: standard === undefined ? out : folder,
      signal,
      onProgress: ({ stage, message }) => stage !== 'done' && this.report('build', `${name}: ${message}`),
    });
    return artifact;
  }
}
