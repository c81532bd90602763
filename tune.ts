import {
  type TuneOptions as CompilerTuneOptions,
  type ModelTrial,
  type TuneResult,
  type TuningRuntime,
  tuneModel,
} from './compiler/index.ts';
import { defaultThreads } from './runtime/src/addon.ts';
import { Prompts } from './runtime/src/benchmark.ts';
import { GpuBench } from './runtime/src/gpu-bench.ts';
import { openArtifact, readArtifact } from './runtime/src/index.ts';
import { KernelBench } from './runtime/src/kernel-bench.ts';
import { cuda } from './targets/index.ts';

/** How a model is tuned. */
export interface TuneOptions extends Omit<CompilerTuneOptions, 'threads'> {
  /** Threads that the model will run on. Default: the physical cores that this process may use. */
  readonly threads?: number;
}

/** Tokens of a trial's prompt, and new ones: fewer where the model has no room for them. A GPU makes more in a moment. */
const PROMPT = 128;
const GENERATED = { cpu: 16, gpu: 128 } as const;
/** Sequences of a GPU's trial beside the one, with short prompts, and tokens that each gets. */
const SEQUENCES = 64;
const SHORT = 16;
const STEPS = 64;

/** Kernels and whole models, run by this package's own runtime. */
export const nativeRuntime: TuningRuntime = {
  workbench: async (threads) => new KernelBench(threads),
  gpuBench: async (device) => new GpuBench(device),
  openModel: openTrial,
};

async function openTrial(
  artifact: string,
  target: string,
  { threads, device }: { readonly threads: number; readonly device: number },
): Promise<ModelTrial> {
  const gpu = target === cuda.id;
  const generated = gpu ? GENERATED.gpu : GENERATED.cpu;
  const { context, vocab } = (await readArtifact(artifact)).manifest.model;
  const model = await openArtifact(artifact, {
    target,
    threads,
    contextLength: Math.min(context, PROMPT + generated + 1),
    ...(gpu ? { device, sequences: SEQUENCES } : {}),
  });
  const prompt = Math.min(PROMPT, Math.floor(model.contextLength / 2));
  const prompts = new Prompts(vocab);
  const generate = async (promptTokens: number, newTokens: number) => {
    const maxTokens = Math.min(newTokens, model.contextLength - promptTokens);
    const options = { maxTokens, temperature: 0, ignoreEos: true };
    return (await model.generate(prompts.fresh(promptTokens), options).result).stats;
  };
  // Decoding of all of them: from when the last one has its first token.
  const perStep = async () => {
    const short = Math.min(SHORT, prompt);
    const all = await Promise.all(Array.from({ length: SEQUENCES }, () => generate(short, STEPS)));
    const seconds = all.map(({ decodeMs, decodeTokens }) => decodeMs / 1e3 / decodeTokens);
    return Math.min(...seconds);
  };
  const run = async () => {
    const stats = await generate(prompt, generated);
    return {
      prefill: (stats.prefillMs / 1e3) * (PROMPT / prompt),
      perToken: stats.decodeMs / 1e3 / stats.decodeTokens,
      ...(gpu ? { perStep: await perStep() } : {}),
    };
  };
  // The first run meets cold caches and pages that were never touched.
  await run();
  return { run, close: () => model.dispose() };
}

/** See `tune` of the front door. */
export const tune = (path: string, { threads, ...options }: TuneOptions = {}): Promise<TuneResult> =>
  tuneModel(path, nativeRuntime, { ...options, threads: threads ?? defaultThreads() });
