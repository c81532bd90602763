import type { KernelRequest } from '../passes/choose-kernels.ts';

/** Options of the compiler that JSON can say. */
export type Settings = Readonly<Record<string, string | number | boolean>>;

/** A way to compile the whole model, beside the default. */
export interface Variant {
  readonly name: string;
  readonly settings: Settings & Partial<KernelRequest>;
}

/**
 * The settings that the tuner tries on the whole model, each alone on top of the tuned kernels. None of them may change a
 * bit of any result.
 */
export const VARIANTS: readonly Variant[] = [];
