import type { CpuTarget } from '../target.ts';

export const x86Avx512vnni: CpuTarget = {
  id: 'x86-avx512vnni',
  title: 'x86-64 with AVX-512 F, BW, DQ, VL and VNNI (Ice Lake and Zen 4 on)',
  arch: 'x86-64',
  features: ['avx2', 'fma', 'f16c', 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512_vnni'],
  rank: 30,
  flags: [
    '-mavx2',
    '-mfma',
    '-mf16c',
    '-mavx512f',
    '-mavx512bw',
    '-mavx512dq',
    '-mavx512vl',
    '-mavx512vnni',
    '-mprfchw',
    '-mno-avx512vbmi',
    '-mprefer-vector-width=512',
  ],
  sumBits: 32,
  lanes: 16,
  registers: 32,
  gemv: { rows: 64 },
  gemm: { rows: 32, tokens: 12 },
};
