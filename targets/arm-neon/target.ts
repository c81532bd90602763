import type { CpuTarget } from '../target.ts';

export const armNeon: CpuTarget = {
  id: 'arm-neon',
  title: 'AArch64 with NEON and the dot-product extension (Cortex-A76, Neoverse N1, Apple M1 on)',
  arch: 'aarch64',
  features: ['asimd', 'asimddp'],
  rank: 20,
  flags: ['-march=armv8.2-a+dotprod'],
  sumBits: 32,
  lanes: 4,
  registers: 32,
  gemv: { rows: 16 },
  gemm: { rows: 16, tokens: 6 },
  cross: {
    compilers: ['aarch64-linux-gnu-g++'],
    emulator: ['qemu-aarch64', '-L', '/usr/aarch64-linux-gnu'],
    install: 'apt-get install --no-install-recommends g++-aarch64-linux-gnu qemu-user',
  },
};
