import type { BenchmarkOutput, MeasurementOutput } from './addon.ts';
import type { Engine } from './engine.ts';
import type { CheckedBenchmarkOptions } from './options.ts';
import { median } from './stats.ts';

/** How fast a model runs here, and what share of the machine's own speed that is. Rates are medians of the runs. */
export interface BenchmarkResult {
  readonly target: string;
  readonly threads: number;
  readonly prefill: {
    readonly tokens: number;
    /** Of each run. */
    readonly seconds: readonly number[];
    readonly tokensPerSecond: number;
    /** Multiply-accumulates of the ternary matrices, against `machine.int8GMACps`. */
    readonly fractionOfPeak: number;
  };
  readonly decode: {
    readonly tokens: number;
    readonly seconds: readonly number[];
    readonly tokensPerSecond: number;
    /** Weights that a step for one token reads. */
    readonly bytesPerToken: number;
    /** Those bytes, against `machine.readGBps`. */
    readonly fractionOfBandwidth: number;
  };
  readonly machine: {
    /** Reading memory with all threads, 10^9 bytes a second. */
    readonly readGBps: number;
    /** int8 multiply-accumulates of all threads, 10^9 a second. */
    readonly int8GMACps: number;
  };
}

/** What a benchmark needs to know of the model. */
export interface BenchmarkSubject {
  readonly target: string;
  readonly bytesPerToken: number;
  /** Multiply-accumulates of the ternary matrices for one token. */
  readonly macsPerToken: number;
}

/** One run: the model, and right after it the machine. */
interface Run {
  readonly prefillSeconds: number;
  readonly decodeSeconds: number;
  readonly readGBps: number;
  readonly int8GMACps: number;
}

/**
 * Times random tokens through the model, and after each run the machine with the same threads, so that both sides of a
 * fraction meet the same machine. Figures are medians over the runs, fractions too.
 */
export async function runBenchmark(
  engine: Engine,
  subject: BenchmarkSubject,
  options: CheckedBenchmarkOptions,
): Promise<BenchmarkResult> {
  const { promptTokens, newTokens, repetitions, onProgress, signal } = options;
  const runs: Run[] = [];
  while (runs.length < repetitions) {
    runs.push(await runOnce(engine, promptTokens, newTokens, signal));
    onProgress?.(runs.length, repetitions);
  }
  const prefillRate = (run: Run) => promptTokens / run.prefillSeconds;
  const decodeRate = (run: Run) => newTokens / run.decodeSeconds;
  const over = (figure: (run: Run) => number) => median(runs.map(figure));
  return {
    target: subject.target,
    threads: engine.facts.threads,
    prefill: {
      tokens: promptTokens,
      seconds: runs.map((run) => run.prefillSeconds),
      tokensPerSecond: over(prefillRate),
      fractionOfPeak: over((run) => (prefillRate(run) * subject.macsPerToken) / (run.int8GMACps * 1e9)),
    },
    decode: {
      tokens: newTokens,
      seconds: runs.map((run) => run.decodeSeconds),
      tokensPerSecond: over(decodeRate),
      bytesPerToken: subject.bytesPerToken,
      fractionOfBandwidth: over((run) => (decodeRate(run) * subject.bytesPerToken) / (run.readGBps * 1e9)),
    },
    machine: { readGBps: over((run) => run.readGBps), int8GMACps: over((run) => run.int8GMACps) },
  };
}

async function runOnce(
  engine: Engine,
  promptTokens: number,
  newTokens: number,
  signal: AbortSignal | undefined,
): Promise<Run> {
  let run: Run = { prefillSeconds: 0, decodeSeconds: 0, readGBps: 0, int8GMACps: 0 };
  for await (const output of engine.run<BenchmarkOutput>((it) => it.benchmark(promptTokens, newTokens, 1), signal)) {
    const [prefillSeconds] = output.prefillSeconds;
    const [decodeSeconds] = output.decodeSeconds;
    if (prefillSeconds !== undefined && decodeSeconds !== undefined) run = { ...run, prefillSeconds, decodeSeconds };
  }
  for await (const output of engine.run<MeasurementOutput>((it) => it.measure(), signal)) {
    run = { ...run, readGBps: output.readBytesPerSecond / 1e9, int8GMACps: output.int8MacsPerSecond / 1e9 };
  }
  return run;
}
