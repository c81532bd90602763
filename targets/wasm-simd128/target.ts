import type { CpuTarget } from '../target.ts';

export const wasmSimd128: CpuTarget = {
  id: 'wasm-simd128',
  title: 'WebAssembly with 128-bit SIMD, relaxed where there is that: browsers, and Node on any machine',
  arch: 'wasm32',
  features: [],
  rank: 0,
  flags: ['-msimd128', '-mbulk-memory', '-matomics'],
  sumBits: 16,
  lanes: 4,
  registers: 16,
  gemv: { rows: 64 },
  gemm: { rows: 16, tokens: 2 },
};
