export { type Machine, probeMachine } from '../../artifact/machine.ts';
export type { Manifest } from '../../artifact/manifest.ts';
export type { Gpu } from './addon.ts';
export { type Artifact, chooseTarget, readArtifact } from './artifact.ts';
export type { BenchmarkResult, BenchmarkRow, MachineLimits } from './benchmark.ts';
export type { ChatMessage } from './chat.ts';
export type { FinishReason, Generation, GenerationResult } from './generate.ts';
export { listGpus } from './gpus.ts';
export {
  type ChatGenerateOptions,
  type LogitsResult,
  type MemoryUse,
  Model,
  type PerplexityResult,
  type TokenizeOptions,
} from './model.ts';
export { openArtifact } from './open.ts';
export type {
  BenchmarkOptions,
  EmbedOptions,
  GenerateOptions,
  LoadOptions,
  LoadProgress,
  PerplexityOptions,
  Pooling,
} from './options.ts';
export type { GenerationStats } from './stats.ts';
export type { DecodeOptions, EncodeOptions, Tokenizer, TokenStream } from './tokenizer/index.ts';
export { findWebGpu } from './webgpu/node.ts';
