import { bitlinearI2Gemm, bitlinearI2Gemv } from './bitlinear-i2.ts';
import type { KernelFamily } from './spec.ts';

/** Every kernel family, in order of preference. Selection, tests and benches take theirs from here. */
export const families: readonly KernelFamily[] = [bitlinearI2Gemv, bitlinearI2Gemm];
