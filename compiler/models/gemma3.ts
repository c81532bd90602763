import type { Architecture } from './architecture.ts';

/**
 * Gemma 3, as BitNet's embedding model of 270M. Norm weights are as GGUF files have them: 1 + w of the checkpoint's w, but
 * for the norms before each projection, which are plain. Embeddings are scaled in float32, as llama.cpp does; the
 * original rounds the factor to the checkpoint's bfloat16.
 */
export const gemma3: Architecture = {
  id: 'gemma3',
  activation: 'gelu',
  ropePairs: 'half',
  subNorms: false,
  headNorms: true,
  postNorms: true,
  inputNorms: true,
  scaledEmbedding: true,
  window: { period: 6, ropeBase: 10000 },
};
