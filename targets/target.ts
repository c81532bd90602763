import { type Machine, runsOn } from '../artifact/machine.ts';

/** A machine that kernels are written for: a folder here with this description and the header its templates call. */
export interface CpuTarget {
  readonly id: string;
  /** In a sentence, for `bitnet targets`. */
  readonly title: string;
  /** `x86-64`, `aarch64` or `wasm32`; `any` is whatever the code is built on. */
  readonly arch: string;
  /** CPU features its code uses, as Linux names them. */
  readonly features: readonly string[];
  /** Of the targets that a machine can run the highest is taken. */
  readonly rank: number;
  /** Code generation flags: what the header needs, and everything above it switched off, so that a leak fails to build. */
  readonly flags: readonly string[];
  /** Width of the running sums inside a chunk of columns. */
  readonly sumBits: 16 | 32;
  /** float32 values in a vector: BN_LANES of the header. */
  readonly lanes: number;
  /** Vector registers there are. */
  readonly registers: number;
  /** Default tiles of the ternary kernels. */
  readonly gemv: { readonly rows: number };
  readonly gemm: { readonly rows: number; readonly tokens: number };
  /** How to build and run it on a machine of another architecture. */
  readonly cross?: {
    readonly compilers: readonly string[];
    readonly emulator: readonly string[];
    readonly install: string;
  };
}

export type Target = CpuTarget;

/** GPUs that kernels are written for: a folder here with this description and the header its templates call. */
export interface GpuTarget extends Pick<CpuTarget, 'id' | 'title' | 'arch' | 'features' | 'rank' | 'flags'> {
  /** Architectures that the code can be built for. */
  readonly architectures: readonly string[];
}

/** Whether a target is for GPUs. */
export const isGpu = (target: CpuTarget | GpuTarget): target is GpuTarget => 'architectures' in target;

/** Whether a machine can run the code of a target. */
export function canRun(target: Pick<Target, 'arch' | 'features'>, machine: Machine): boolean {
  if (!runsOn(target.arch, machine)) return false;
  return target.features.every((feature) => machine.features.has(feature));
}
