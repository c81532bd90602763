export { type Manifest, manifestSchema } from '../artifact/manifest.ts';
export { BitnetError } from '../errors.ts';
export { parseAnyTargets, parseTargets, shareable, type Target, targets } from '../targets/index.ts';
export type { Progress } from './build/artifact.ts';
export { type Compiler, findCompiler } from './build/toolchain.ts';
export type { TensorCheck } from './convert/check-data.ts';
export { convert } from './convert/convert.ts';
export type { Finding } from './convert/findings.ts';
export type {
  ConvertOptions,
  ConvertProgress,
  ConvertReport,
  EmbedType,
  Format,
  TensorReport,
  WeightType,
} from './convert/options.ts';
export { type RepairOptions, type RepairReport, repair } from './convert/repair.ts';
export { type VerifyOptions, type VerifyReport, verifyFile } from './convert/verify.ts';
export {
  type CachedModel,
  type CacheOptions,
  type Download,
  type DownloadOptions,
  downloadModel,
  type FileCheck,
  type HubProgress,
  listModels,
  modelsFolder,
  type Patience,
  removeModel,
  resolveModel,
  verifyModel,
} from './hub/index.ts';
export { type Gguf, readGguf } from './import/gguf/reader.ts';
export { readFolder } from './import/huggingface/shards.ts';
export { formOf, type ImportOptions, importModel, type ModelForm } from './import/index.ts';
export type { I2sLayout } from './import/options.ts';
export { readSafetensors, type Safetensors } from './import/safetensors/reader.ts';
export type { Encoding, Hyper, ModelIR, TensorIR } from './ir/model.ts';
export type { Plan, Step } from './ir/plan.ts';
export {
  formatKernelConfig,
  type KernelConfig,
  type KernelSection,
  parseKernelConfig,
  readKernelConfig,
  writeKernelConfig,
} from './kernels/config.ts';
export { families, type KernelKind } from './kernels/index.ts';
export { formatName, type KernelName, parseName } from './kernels/name.ts';
export type { KernelFamily, KernelSpec } from './kernels/spec.ts';
export type { HeadRequest } from './passes/choose-head.ts';
export type { KernelRequest } from './passes/choose-kernels.ts';
export {
  type CompileOptions,
  type CompileResult,
  compile,
  type LowerOptions,
  lowerModel,
  type Stages,
} from './pipeline.ts';
export type { Variant } from './tune/bed.ts';
export { tunedSections } from './tune/sections.ts';
export { type TuneOptions, type TuneResult, type TuningProgress, tuneModel } from './tune/tune.ts';
export { readTuned, type Tuned, type TunedShape, tunedPath, writeTuned } from './tune/tuned-file.ts';
export type { GpuWorkbench, ModelTrial, TuningRuntime, Workbench } from './tune/workbench.ts';
