import type { GpuTarget } from '../target.ts';

export const cuda: GpuTarget = {
  id: 'cuda',
  title: 'NVIDIA GPUs: sm_80, sm_86, sm_89, sm_90 (tuned on an H200) and sm_120',
  arch: 'cuda',
  features: [],
  rank: 0,
  architectures: ['sm_80', 'sm_86', 'sm_89', 'sm_90', 'sm_120'],
  flags: ['-std=c++17', '-fmad=false'],
};
