import { probeMachine } from '../../artifact/machine.ts';
import type { LowerOptions } from '../../compiler/index.ts';
import { COMPILER_VERSION } from '../../compiler/version.ts';
import { artifactOf, isArtifact } from '../../index.ts';
import type { BenchmarkOptions, LoadOptions, Model } from '../../runtime/src/index.ts';
import { openArtifact, readArtifact } from '../../runtime/src/index.ts';
import { estimate } from '../../statistics.ts';
import { requireRunnable } from '../../targets/index.ts';
import type { BenchReport } from '../report/result.ts';
import { shapeModel } from '../shapes/index.ts';

/** What is measured, and how the model is opened for it. */
export interface MeasureOptions
  extends Required<Pick<BenchmarkOptions, 'promptTokens' | 'newTokens' | 'contexts' | 'sequences' | 'repetitions'>>,
    Pick<LoadOptions, 'target' | 'device' | 'devices' | 'threads' | 'pin' | 'kv'>,
    LowerOptions {
  /** Read of the head only what may matter, as BenchmarkOptions.screen; `screen` is how the model is compiled. */
  readonly screened?: boolean;
  /** Where artifacts of model files are put. */
  readonly out?: string;
  /** Called with what it is at, and the fraction that is done. */
  readonly onProgress?: (message: string, fraction?: number) => void;
  readonly signal?: AbortSignal;
}

/** Opening is quick; the first time fills the system's cache. */
const OPENINGS = 6;

/** The random model of a shape. Its artifact is as large as it is: put it where its model is, into `artifacts`. */
export async function shapeSubject(
  name: string,
  { onProgress, signal }: Pick<MeasureOptions, 'onProgress' | 'signal'> = {},
): Promise<{ path: string; out: string }> {
  const { cacheFolder } = await import('../../compiler/build/cache-folder.ts');
  const path = await shapeModel(name, (done, total) => {
    signal?.throwIfAborted();
    onProgress?.(`making a random model of shape ${name}`, done / total);
  });
  return { path, out: cacheFolder('shapes', 'generated') };
}

/**
 * Measures an artifact, or a model file that is compiled first: how long opening takes, the speed of everything that was
 * asked for, and the memory that it took. Contexts that the model has no room for are cut to what fits, once.
 * @throws BitnetError for a model that cannot be opened or compiled, and for a bad option
 */
export async function measureModel(path: string, options: MeasureOptions): Promise<BenchReport> {
  const {
    promptTokens,
    newTokens,
    sequences,
    repetitions,
    target,
    device,
    devices,
    threads,
    pin = false,
    kv = 'f16',
    onProgress,
    signal,
  } = options;
  if (target !== undefined && target !== 'native' && !isArtifact(path)) requireRunnable(target);
  const artifact = await artifactOf(path, {
    ...options,
    onProgress: ({ stage, message, fraction }) => stage !== 'done' && onProgress?.(message, fraction),
  });
  const { manifest } = await readArtifact(artifact);
  const run = Math.max(...promptTokens, newTokens + 1);
  const room = manifest.model.context - run;
  const contexts = [...new Set(options.contexts.map((context) => Math.max(0, Math.min(context, room))))];
  const load: LoadOptions = {
    ...(target === undefined || target === 'native' ? {} : { target }),
    ...(device === undefined ? {} : { device }),
    ...(devices === undefined ? {} : { devices }),
    ...(threads === undefined ? {} : { threads }),
    ...(signal ? { signal } : {}),
    pin,
    kv,
    contextLength: Math.max(...contexts) + run,
    sequences: Math.max(...sequences),
  };
  const before = process.memoryUsage.rss();
  onProgress?.('opening');
  const { model, milliseconds } = await openRepeatedly(artifact, load);
  try {
    const { rows, machine, ...facts } = await model.benchmark({
      promptTokens,
      newTokens,
      contexts,
      sequences,
      repetitions,
      screen: options.screened ?? true,
      onProgress: (done, total) => onProgress?.('measuring', done / total),
      ...(signal ? { signal } : {}),
    });
    return {
      format: 1,
      date: new Date().toISOString().slice(0, 10),
      version: COMPILER_VERSION,
      model: model.info.name,
      cpu: probeMachine().cpu,
      ...(model.device === null ? {} : { gpu: model.device }),
      ...facts,
      kv,
      rows: [...rows] as BenchReport['rows'],
      machine,
      openMs: estimate(milliseconds),
      memory: { ...model.memory(), before },
    };
  } finally {
    await model.dispose();
  }
}

/** Opens it some times, and keeps the last. */
async function openRepeatedly(
  artifact: string,
  options: LoadOptions,
): Promise<{ model: Model; milliseconds: number[] }> {
  await (await openArtifact(artifact, options)).dispose();
  const milliseconds: number[] = [];
  for (;;) {
    const start = performance.now();
    const model = await openArtifact(artifact, options);
    milliseconds.push(performance.now() - start);
    if (milliseconds.length === OPENINGS) return { model, milliseconds };
    await model.dispose();
  }
}
