import {
  type TuneOptions as CompilerTuneOptions,
  type ModelTrial,
  type TuneResult,
  type TuningRuntime,
  tuneModel,
} from './compiler/index.ts';
import { defaultThreads } from './runtime/src/addon.ts';
import { Prompts } from './runtime/src/benchmark.ts';
import { openArtifact, readArtifact } from './runtime/src/index.ts';
import { KernelBench } from './runtime/src/kernel-bench.ts';

/** How a model is tuned. */
export interface TuneOptions extends Omit<CompilerTuneOptions, 'threads'> {
  /** Threads that the model will run on. Default: the physical cores that this process may use. */
  readonly threads?: number;
}

/** Tokens of a trial's prompt, and new ones: fewer where the model has no room for them. */
const PROMPT = 128;
const GENERATED = 16;

/** Kernels and whole models, run by this package's own runtime. */
export const nativeRuntime: TuningRuntime = {
  workbench: async (threads) => new KernelBench(threads),
  openModel: openTrial,
};

async function openTrial(artifact: string, target: string, threads: number): Promise<ModelTrial> {
  const { context, vocab } = (await readArtifact(artifact)).manifest.model;
  const model = await openArtifact(artifact, {
    target,
    threads,
    contextLength: Math.min(context, PROMPT + GENERATED + 1),
  });
  const prompt = Math.min(PROMPT, Math.floor(model.contextLength / 2));
  const prompts = new Prompts(vocab);
  const run = async () => {
    const tokens = prompts.fresh(prompt);
    const maxTokens = Math.min(GENERATED, model.contextLength - prompt);
    const { stats } = await model.generate(tokens, { maxTokens, temperature: 0, ignoreEos: true }).result;
    return {
      prefill: (stats.prefillMs / 1e3) * (PROMPT / prompt),
      perToken: stats.decodeMs / 1e3 / stats.decodeTokens,
    };
  };
  // The first run meets cold caches and pages that were never touched.
  await run();
  return { run, close: () => model.dispose() };
}

/** See `tune` of the front door. */
export const tune = (path: string, { threads, ...options }: TuneOptions = {}): Promise<TuneResult> =>
  tuneModel(path, nativeRuntime, { ...options, threads: threads ?? defaultThreads() });
