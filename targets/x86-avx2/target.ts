import type { CpuTarget } from '../target.ts';

export const x86Avx2: CpuTarget = {
  id: 'x86-avx2',
  title: 'x86-64 with AVX2, FMA and F16C (Haswell and Zen on)',
  arch: 'x86-64',
  features: ['avx2', 'fma', 'f16c'],
  rank: 20,
  flags: ['-mavx2', '-mfma', '-mf16c', '-mno-avx512f'],
  sumBits: 16,
  lanes: 8,
  registers: 16,
  gemv: { rows: 32 },
  gemm: { rows: 16, tokens: 4 },
};
