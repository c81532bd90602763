import type { CpuTarget } from '../target.ts';

export const ref: CpuTarget = {
  id: 'ref',
  title: 'portable scalar C++: runs anywhere, and is the oracle of the rest',
  arch: 'any',
  features: [],
  rank: 0,
  flags: [],
  sumBits: 32,
  lanes: 1,
  registers: 16,
  gemv: { rows: 16 },
  gemm: { rows: 16, tokens: 4 },
};
