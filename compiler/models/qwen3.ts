import type { Architecture } from './architecture.ts';

/** Qwen3, as BitNet's embedding model of 0.6B: norms of query and key heads, and one before each projection. */
export const qwen3: Architecture = {
  id: 'qwen3',
  activation: 'silu',
  ropePairs: 'half',
  subNorms: false,
  headNorms: true,
  inputNorms: true,
};
