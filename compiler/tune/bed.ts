import type { GpuClass } from '../kernels/bitlinear-t16.ts';
import type { KernelSpec } from '../kernels/spec.ts';
import type { PlanRequest } from '../passes/index.ts';
import type { Candidate, MatrixShape } from './candidates.ts';
import type { TuningMachine } from './machine.ts';

/** Steps that a kernel is for, by how many tokens they have: of CPUs one, and many. */
export type BatchClass = GpuClass;

/** A way to compile the whole model: options of the compiler that JSON can say. */
export interface Variant {
  readonly name: string;
  readonly settings: Readonly<Record<string, string | number | boolean>> & Partial<PlanRequest>;
}

/** Kernels of one shape and batch class in a folder of their own. */
export interface BuiltKernels {
  /** Of everything that went into them. */
  readonly key: string;
  readonly folder: string;
  readonly library: string;
}

/** What kernels are tuned on: how they are listed, built, checked and timed there. */
export interface TuningBed {
  readonly target: string;
  readonly compiler: string;
  readonly machine: TuningMachine;
  /** Threads that the model will run on. */
  readonly threads: number;
  readonly shapes: readonly MatrixShape[];
  /** The layout that a matrix has where no other one is clearly faster. */
  readonly standard: string;
  /** Nanoseconds that a kernel must gain on the default one to be taken instead. */
  readonly least: number;
  /** Batch classes, with the tokens that their kernels are timed with. */
  readonly batches: Readonly<Partial<Record<BatchClass, number>>>;
  readonly variants: readonly Variant[];
  /** Groups that may be built while another one is timed. */
  readonly ahead: number;
  /** In order of cost, the default ones first. */
  candidates(shape: MatrixShape, takes: BatchClass): Candidate[];
  build(
    shape: MatrixShape,
    takes: BatchClass,
    specs: readonly KernelSpec[],
    signal?: AbortSignal,
  ): Promise<BuiltKernels>;
  bench(): Promise<TuningBench>;
}

/** Runs and times the kernels that were opened last. */
export interface TuningBench {
  open(built: BuiltKernels, shape: MatrixShape): Promise<void>;
  /** Whether a kernel computes what it should, bit for bit. */
  isExact(candidate: Candidate): Promise<boolean>;
  /** Nanoseconds of `rounds` calls, each on weights that no cache holds. */
  time(candidate: Candidate, rounds: number): Promise<number>;
  /** What the machine does at best. */
  limits(): Promise<{ readonly readBytesPerSecond: number; readonly int8MacsPerSecond: number }>;
}
