import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { WASM } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import { estimate } from '../../statistics.ts';
import { cuda, nativeTarget, parseTargets, requireRunnable, type Target } from '../../targets/index.ts';
import { cacheFolder } from '../build/cache-folder.ts';
import { sha256 } from '../build/fingerprint.ts';
import { libraryFile, libraryKey, writeLibrary } from '../build/library.ts';
import { withLock } from '../build/lock.ts';
import { type Compiler, findCompiler } from '../build/toolchain.ts';
import { resolveModel } from '../hub/resolve.ts';
import { importModel } from '../import/index.ts';
import type { ModelIR } from '../ir/model.ts';
import type { Plan } from '../ir/plan.ts';
import { formatTile } from '../kernels/name.ts';
import type { KernelFamily } from '../kernels/spec.ts';
import { type PlanRequest, planModel } from '../passes/index.ts';
import { type CompileOptions, compile, type LowerOptions } from '../pipeline.ts';
import { renderKernels } from '../render/index.ts';
import { systemErrors } from '../system-errors.ts';
import { COMPILER_VERSION } from '../version.ts';
import { BATCHES, type Candidate, candidatesFor, type MatrixShape, shapesOf } from './candidates.ts';
import { Checker } from './check.ts';
import { chooseForShape, isFaster, type Tried, trialSeconds } from './choose.ts';
import { eliminate } from './eliminate.ts';
import { linkArtifact } from './link-artifact.ts';
import { tuningMachine } from './machine.ts';
import { readState, removeState, type TuningState, writeState } from './state.ts';
import { type Tuned, type TunedShape, type TunedTrial, tunedPath, writeTuned } from './tuned-file.ts';
import type { ModelTrial, TuningRuntime, Workbench } from './workbench.ts';

/** A way to compile the whole model: options of the compiler that JSON can say. */
export interface Variant {
  readonly name: string;
  readonly settings: Readonly<Record<string, string | number | boolean>> & Partial<PlanRequest>;
}

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
    if (options.target === cuda.id) {
      throw new BitnetError(`target ${cuda.id} is not tuned`, {
        hint: "its kernels go by a matrix's shape and the tokens of a step: bitnet explain MODEL --target cuda shows them",
      });
    }
    const [target, ...more] = parseTargets(options.target ?? nativeTarget().id);
    if (!target || more.length > 0) throw new BitnetError('a model is tuned for one target at a time');
    requireRunnable(target.id);
    if (target.arch === WASM) {
      throw new BitnetError(`target ${target.id} cannot be tuned: its speed is another in each engine that runs it`);
    }
    if (!(options.threads >= 1)) throw new BitnetError(`option threads is ${options.threads}: it must be 1 or more`);
    const tuning = new Tuning(source, ir, target, await findCompiler(target), runtime, options);
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
}

/** Candidates of one shape and batch class. */
interface Group {
  readonly shape: MatrixShape;
  readonly takes: KernelFamily['takes'];
  readonly tried: readonly Tried[];
  readonly work: number;
}

/** What leaves weights unread pays by what the hidden values are like, and by how fast the memory is. */
function variantsOf({ layer, weights }: Plan): Variant[] {
  const skips = layer.some((step) => step.op === 'bitlinear' && step.skips !== undefined);
  const screens = weights.shared.some(({ kind }) => kind === 'screen');
  return [
    ...(skips ? [{ name: 'every-weight', settings: { skipZeros: false } }] : []),
    ...(screens ? [{ name: 'whole-head', settings: { screen: 0 } as const }] : []),
  ];
}

class Tuning {
  readonly #source: string;
  readonly #ir: ModelIR;
  readonly #target: Target;
  readonly #compiler: Compiler;
  readonly #runtime: TuningRuntime;
  readonly #options: TuneOptions;
  readonly #file: string;
  readonly #machine = tuningMachine();
  readonly #standard: string;
  readonly #variants: readonly Variant[];
  readonly #shapes: readonly MatrixShape[];
  #started = performance.now();
  #state: TuningState = { format: 1, key: '', groups: {} };
  #saved = 0;
  #complete = true;

  constructor(
    source: string,
    ir: ModelIR,
    target: Target,
    compiler: Compiler,
    runtime: TuningRuntime,
    options: TuneOptions,
  ) {
    this.#source = source;
    this.#ir = ir;
    this.#target = target;
    this.#compiler = compiler;
    this.#runtime = runtime;
    this.#options = options;
    const plan = planModel(ir);
    this.#shapes = shapesOf(plan);
    this.#variants = variantsOf(plan);
    this.#standard = plan.layer.find((step) => step.op === 'bitlinear')!.layout;
    this.#file = resolve(options.file ?? tunedPath(ir.architecture, this.#shapes, target.id));
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
    const { threads, fresh, signal } = this.#options;
    this.#started = performance.now();
    await mkdir(dirname(this.#file), { recursive: true });
    const key = sha256(
      JSON.stringify([this.#machine, this.#target.id, threads, this.#compiler.version, COMPILER_VERSION]),
    );
    const kept = fresh ? undefined : await readState(this.#file, key, (problem) => this.report('notice', problem));
    this.#state = kept ?? { format: 1, key, groups: {} };
    // Whoever cannot write here should know before anything was measured.
    await writeState(this.#file, this.#state);
    // Weights beyond the caches take a while to make.
    const bench = this.#left(KERNELS) > 0 ? await this.#runtime.workbench(threads) : undefined;
    const groups = this.#groups();
    for (const [index, group] of groups.entries()) {
      signal?.throwIfAborted();
      if (!bench || this.#left(KERNELS) <= 0) this.#complete = false;
      else await this.#measure(bench, group, this.#left(KERNELS) / (groups.length - index));
    }
    const shapes = this.#shapes.flatMap((shape) => this.#choose(shape, groups) ?? []);
    let tuned: Tuned = {
      format: 1,
      date: new Date().toISOString().slice(0, 10),
      model: this.#ir.name || 'model',
      machine: { cpu: this.#machine.cpu, caches: [...this.#machine.caches] },
      target: this.#target.id,
      threads,
      compiler: this.#compiler.version,
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
    const { keep = 8 } = this.#options;
    const caches = this.#machine.caches;
    return (Object.keys(BATCHES) as KernelFamily['takes'][])
      .flatMap((takes) =>
        this.#shapes.map((shape): Group => {
          const tried = candidatesFor(shape, takes, this.#target, { keep, caches }).map((candidate) => ({
            candidate,
            contestant: { name: candidate.spec.name, league: candidate.layout, samples: [], out: false },
          }));
          return { shape, takes, tried, work: shape.m * shape.k * shape.count * (takes === 'one' ? 2 : 1) };
        }),
      )
      .sort((a, b) => b.work - a.work);
  }

  async #build({ shape, takes, tried }: Group): Promise<{ library: string; key: string; folder: string }> {
    const { signal } = this.#options;
    const specs = tried.map(({ candidate }) => candidate.spec);
    const sources = renderKernels(specs, this.#target, Math.max(...Object.values(BATCHES)));
    const key = libraryKey(sources, this.#target, this.#compiler);
    // A system keeps one library for each path: every one has its own.
    const folder = cacheFolder('tuned', `kernels-${process.pid}-${key.slice(0, 12)}`);
    const what = `${specs.length} kernels for ${shape.m} × ${shape.k}, ${BATCHES[takes]} tokens`;
    this.report('build', `building ${what} on ${availableParallelism()} cores`);
    await rm(folder, { recursive: true, force: true });
    await writeLibrary(folder, sources, this.#target, this.#compiler, signal);
    return { library: join(folder, libraryFile(this.#target)), key, folder };
  }

  async #measure(bench: Workbench, group: Group, milliseconds: number): Promise<void> {
    const { signal } = this.#options;
    const until = performance.now() + milliseconds;
    const { library, key, folder } = await this.#build(group);
    try {
      const kept = this.#state.groups[key] ?? {};
      const entries: TuningState['groups'][string] = {};
      this.#state.groups[key] = entries;
      await bench.open(library);
      const checker = new Checker(group.shape);
      for (const { candidate, contestant } of group.tried) {
        signal?.throwIfAborted();
        const known = kept[contestant.name];
        this.report('check', `checking ${contestant.name}`);
        if (!known?.checked && !(await checker.isExact(bench, candidate))) {
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
      await rm(folder, { recursive: true, force: true });
      await this.#save(true);
    }
  }

  /** Nanoseconds of one call. */
  async #sample(bench: Workbench, { spec, takes, tokens }: Candidate, rounds: Map<string, number>): Promise<number> {
    this.#options.signal?.throwIfAborted();
    const { rows, held = rows } = spec.tile;
    const unit = (takes === 'one' ? held : rows) / 16;
    const known = rounds.get(spec.name);
    const calls = known ?? Math.max(1, Math.round(SAMPLE_NS / (await bench.time(spec.name, tokens, unit, 1))));
    rounds.set(spec.name, calls);
    const nanoseconds = (await bench.time(spec.name, tokens, unit, calls)) / calls;
    this.report('kernels', spec.name, this.#best(spec.name, nanoseconds));
    return nanoseconds;
  }

  #leader: { name: string; nanoseconds: number; of: string } | undefined;

  /** The fastest sample of the kernels of one shape and batch class, in words. */
  #best(name: string, nanoseconds: number): string {
    const of = name.replace(/^bn_bitlinear_[a-z0-9]+_|_t[x\d]+__\w+$/g, '');
    if (this.#leader?.of !== of || nanoseconds < this.#leader.nanoseconds) this.#leader = { name, nanoseconds, of };
    return `${this.#leader.name} ${(this.#leader.nanoseconds / 1000).toFixed(1)} µs`;
  }

  async #save(now = false): Promise<void> {
    if (!now && performance.now() - this.#saved < SAVE_MS) return;
    await writeState(this.#file, this.#state);
    this.#saved = performance.now();
  }

  async #limits(bench: Workbench | undefined, groups: readonly Group[]): Promise<Tuned['limits']> {
    const measured = groups.some(({ tried }) => tried.some(({ contestant }) => contestant.samples.length > 0));
    if (!bench || !measured) return { readGBps: 0, int8GMACps: 0 };
    const { readBytesPerSecond, int8MacsPerSecond } = await bench.limits();
    return { readGBps: readBytesPerSecond / 1e9, int8GMACps: int8MacsPerSecond / 1e9 };
  }

  #choose(shape: MatrixShape, groups: readonly Group[]): TunedShape | undefined {
    const tried = (takes: KernelFamily['takes']) =>
      groups.find((group) => group.shape === shape && group.takes === takes)?.tried ?? [];
    return chooseForShape(shape, { one: tried('one'), many: tried('many') }, this.#standard);
  }

  /** Whether a shape got another kernel than the default one. */
  #differs({ layout, layouts, candidates }: TunedShape): boolean {
    if (layout !== this.#standard) return true;
    const { kernels } = layouts.find((one) => one.layout === layout)!;
    return candidates.some(
      (one) => one.layout === layout && one.isDefault && formatTile(one.tile) !== formatTile(kernels[one.takes].tile),
    );
  }

  /** Whole models: the default, the tuned one, and that with other settings, turn about. */
  async #trials(tuned: Tuned): Promise<Pick<Tuned, 'trials' | 'choice' | 'settings'>> {
    const { choice } = tuned;
    const { variants = this.#variants } = this.#options;
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
        const trial = await this.#runtime.openModel(artifact, this.#target.id, this.#options.threads);
        running.push({ variant, artifact, trial, prefill: [], perToken: [] });
      }
      for (let round = 0; round < TRIALS.most; round++) {
        if (round >= TRIALS.least && this.#left() <= 0) break;
        for (let i = 0; i < running.length; i++) {
          const { variant, trial, prefill, perToken } = running[(i + round) % running.length]!;
          this.#options.signal?.throwIfAborted();
          this.report('model', `whole model, ${variant.name}`);
          const seconds = await trial.run();
          prefill.push(seconds.prefill);
          perToken.push(seconds.perToken);
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
      target: this.#target.id,
      out: standard === undefined ? out : folder,
      signal,
      onProgress: ({ stage, message }) => stage !== 'done' && this.report('build', `${name}: ${message}`),
    });
    return artifact;
  }
}
