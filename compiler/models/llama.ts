import type { Architecture } from './architecture.ts';

/** LLaMA with ternary linears: Llama3-8B-1.58, Falcon3 1.58, Falcon-E. Rotates neighbours, as converters permute for. */
export const llama: Architecture = { id: 'llama', activation: 'silu', ropePairs: 'interleaved', subNorms: false };
