import type { Architecture } from './architecture.ts';

/** BitNet b1.58 2B-4T (Microsoft): sub-norms and squared ReLU. */
export const bitnetB158: Architecture = { id: 'bitnet-b1.58', activation: 'relu2', ropePairs: 'half', subNorms: true };
