import type { TernaryEncodingName } from '../ir/model.ts';
import type { KernelConfig } from '../kernels/config.ts';

/**
 * The orders of weights that builds of bitnet.cpp have written I2_S tensors in: blocks of 128 as published, blocks of
 * 64 by builds for ARM, and columns of four rows by builds for x86 without `ACT_PARALLEL`.
 */
export const I2S_LAYOUTS = {
  '128': 'i2_s',
  '64': 'i2_s64',
  '4rows': 'i2_s_r4',
} as const satisfies Record<string, TernaryEncodingName>;

export type I2sLayout = keyof typeof I2S_LAYOUTS;

/** What a model file does not say of itself. */
export interface ImportOptions {
  /** The kernel .ini of the conversion: TL1 and TL2 tensors are laid out by it. */
  readonly config?: KernelConfig;
  /** The order of I2_S tensors. If it is left out, it is found out where that can be, and `128` where not. */
  readonly i2sLayout?: I2sLayout;
  /** Quantise float weights to ternary even where they are not near ternary. */
  readonly force?: boolean;
}
