import type { Architecture } from './architecture.ts';

/** BitNet b1.58 large and 3B (1bitLLM), after "The Era of 1-bit LLMs": a LLaMA block with sub-norms and SiLU. */
export const bitnet: Architecture = { id: 'bitnet', activation: 'silu', ropePairs: 'half', subNorms: true };
