import type { Architecture } from './architecture.ts';

/** The name that some converters give to BitNet b1.58 2B-4T. */
export const bitnet25: Architecture = { id: 'bitnet-25', activation: 'relu2', ropePairs: 'half', subNorms: true };
