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

/** Times random tokens through the model, then measures the machine with the same threads. */
export async function runBenchmark(
  engine: Engine,
  subject: BenchmarkSubject,
  options: CheckedBenchmarkOptions,
): Promise<BenchmarkResult> {
  const { promptTokens, newTokens, repetitions, onProgress, signal } = options;
  const prefillSeconds: number[] = [];
  const decodeSeconds: number[] = [];
  const times = engine.run<BenchmarkOutput>((it) => it.benchmark(promptTokens, newTokens, repetitions), signal);
  for await (const output of times) {
    prefillSeconds.push(...output.prefillSeconds);
    decodeSeconds.push(...output.decodeSeconds);
    if (output.prefillSeconds.length > 0) onProgress?.(prefillSeconds.length, repetitions);
  }
  let readGBps = 0;
  let int8GMACps = 0;
  for await (const output of engine.run<MeasurementOutput>((it) => it.measure(), signal)) {
    readGBps = output.readBytesPerSecond / 1e9;
    int8GMACps = output.int8MacsPerSecond / 1e9;
  }
  const prefillRate = promptTokens / median(prefillSeconds);
  const decodeRate = newTokens / median(decodeSeconds);
  return {
    target: subject.target,
    threads: engine.facts.threads,
    prefill: {
      tokens: promptTokens,
      seconds: prefillSeconds,
      tokensPerSecond: prefillRate,
      fractionOfPeak: (prefillRate * subject.macsPerToken) / (int8GMACps * 1e9),
    },
    decode: {
      tokens: newTokens,
      seconds: decodeSeconds,
      tokensPerSecond: decodeRate,
      bytesPerToken: subject.bytesPerToken,
      fractionOfBandwidth: (decodeRate * subject.bytesPerToken) / (readGBps * 1e9),
    },
    machine: { readGBps, int8GMACps },
  };
}
