import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { CompileOptions, Progress as CompileProgress, LowerOptions, TuneResult } from './compiler/index.ts';
import type { EmulateOptions } from './emulate.ts';
import { BitnetError } from './errors.ts';
import { packageRoot } from './package-root.ts';
import { defaultThreads } from './runtime/src/addon.ts';
import {
  type LogitsResult,
  listGpus,
  type Model,
  type LoadOptions as OpenOptions,
  type LoadProgress as OpenProgress,
  openArtifact,
} from './runtime/src/index.ts';
import { cuda, requireRunnable } from './targets/index.ts';
import type { TuneOptions } from './tune.ts';

export type { Tuned, TuningProgress } from './compiler/index.ts';
export { BitnetError } from './errors.ts';
export * from './runtime/src/index.ts';
export type { CompileProgress, EmulateOptions, OpenOptions, OpenProgress, TuneOptions, TuneResult };

/** What `load` is at: a stage of the compiler, with a message, or of the opening that follows. */
export type LoadProgress = CompileProgress | OpenProgress;

/** How a model is loaded: how an artifact is opened, and how one is made, and where, if a model file must be compiled first. */
export interface LoadOptions extends Omit<OpenOptions, 'onProgress'>, LowerOptions {
  /** Folder for artifacts of model files. Default: `generated` under the current folder. */
  readonly out?: string;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** The model that comes with the package: a small teller of simple English stories. */
export const defaultModel = (): string => join(packageRoot(), 'models', 'storyteller-25m-i2_s.gguf');

/** Whether a path is an artifact folder, rather than a model to compile. */
export const isArtifact = (path: string): boolean => existsSync(join(path, 'manifest.json'));

/**
 * Makes a model ready to run. An artifact folder is opened at once; a model file, or a downloaded model by its name
 * (`owner/name`), is compiled on first use, into `options.out`, and only then is the compiler imported. Without a path it
 * is the default model.
 * @throws BitnetError for a model that cannot be read or compiled, and for a target that this machine cannot run
 */
export async function load(path: string = defaultModel(), options: LoadOptions = {}): Promise<Model> {
  const { out, ...rest } = splitOptions(options).others;
  const target = options.target === 'native' ? undefined : options.target;
  if (target !== undefined && !isArtifact(path)) requireRunnable(target);
  const threads = options.threads ?? defaultThreads();
  return openArtifact(await artifactOf(path, { ...options, threads }), { ...rest, target });
}

/**
 * The artifact of a model: `path` itself where it is one, or what the model file there is compiled into; for as many GPUs
 * as `devices` are.
 * @throws BitnetError for a model that cannot be read or compiled, and for options that an artifact cannot follow
 */
export async function artifactOf(
  path: string,
  { devices = [], ...options }: CompileOptions & Pick<OpenOptions, 'devices'>,
): Promise<string> {
  if (isArtifact(path)) {
    refuseLowering(path, options);
    return path;
  }
  // Whoever has no GPU should know before anything is built for one.
  if (options.target === cuda.id) listGpus();
  const { compile } = await import('./compiler/index.ts');
  const gpus = options.target === cuda.id && devices.length > 1 ? devices.length : options.gpus;
  return (await compile(path, { ...options, gpus })).artifact;
}

/** The options that say how a model file is compiled, apart from the others. */
function splitOptions<T extends LowerOptions>(options: T) {
  const { kernel, head, config, screen, tuned, skipZeros, i2sLayout, force, ...others } = options;
  const lowering: LowerOptions = { kernel, head, config, screen, tuned, skipZeros, i2sLayout, force };
  return { lowering, others };
}

/** Throws a BitnetError for options that an artifact, which is compiled already, cannot follow. */
export function refuseLowering(path: string, options: LowerOptions): void {
  const [asked] = Object.entries(splitOptions(options).lowering).filter(([, value]) => value !== undefined);
  if (!asked) return;
  throw new BitnetError(`${path} is compiled already: option ${asked[0]} is for model files`, {
    hint: 'compile the model file again with it',
  });
}

/**
 * The logits after every token, computed by the program of another CPU architecture under an emulator: slow, and exactly
 * what that CPU would give.
 * @throws BitnetError with the command that installs the cross compiler or the emulator where one is missing
 */
export async function emulateLogits(
  path: string,
  tokens: readonly number[],
  options: EmulateOptions,
): Promise<LogitsResult> {
  return (await import('./emulate.ts')).emulateLogits(path, tokens, options);
}

/**
 * Measures on this machine which kernels and which layouts of the weights are the fastest for a model file, and writes a
 * tuned file: compiling the model here uses it from then on.
 * @throws BitnetError for a model that cannot be read, a target that this machine cannot run, and a missing compiler
 */
export async function tune(path: string = defaultModel(), options: TuneOptions = {}): Promise<TuneResult> {
  return (await import('./tune.ts')).tune(path, options);
}
