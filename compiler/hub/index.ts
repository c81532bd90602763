export {
  type CachedModel,
  type CacheOptions,
  findModel,
  type HubProgress,
  listModels,
  type ModelRecord,
} from './cache.ts';
export { type Download, type DownloadOptions, downloadModel } from './download.ts';
export { modelsFolder } from './folder.ts';
export { removeModel } from './remove.ts';
export { modelPath, resolveModel } from './resolve.ts';
export type { Patience } from './retry.ts';
export { type FileCheck, verifyModel } from './verify.ts';
