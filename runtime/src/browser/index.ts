export { BitnetError } from '../../../errors.ts';
export type { ChatMessage } from '../chat.ts';
export type { FinishReason, Generation, GenerationResult } from '../generate.ts';
export type { ChatGenerateOptions, LogitsResult, MemoryUse, PerplexityResult, TokenizeOptions } from '../model.ts';
export type {
  BrowserLoadOptions as LoadOptions,
  BrowserProgress as LoadProgress,
  EmbedOptions,
  GenerateOptions,
} from '../options.ts';
export type { GenerationStats } from '../stats.ts';
export { BrowserModel as Model, load } from './load.ts';
export type { Rejected } from './targets.ts';
