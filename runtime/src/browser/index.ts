// Models are AsyncDisposable, which the libraries of few projects know.
/// <reference lib="esnext.disposable" preserve="true" />
export type { Manifest } from '../../../artifact/manifest.ts';
export { BitnetError } from '../../../errors.ts';
export type { BenchmarkResult, BenchmarkRow, MachineLimits } from '../benchmark.ts';
export type { ChatMessage } from '../chat.ts';
export type { FinishReason, Generation, GenerationResult } from '../generate.ts';
export type { ChatGenerateOptions, LogitsResult, MemoryUse, PerplexityResult, TokenizeOptions } from '../model.ts';
export type {
  BenchmarkOptions,
  BrowserLoadOptions as LoadOptions,
  BrowserProgress as LoadProgress,
  EmbedOptions,
  GenerateOptions,
  PerplexityOptions,
  Pooling,
} from '../options.ts';
export type { GenerationStats } from '../stats.ts';
export type { DecodeOptions, EncodeOptions, Tokenizer, TokenStream } from '../tokenizer/index.ts';
export { BrowserModel as Model, load } from './load.ts';
export type { Rejected } from './targets.ts';
