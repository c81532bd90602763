export { type Manifest, manifestSchema } from '../artifact/manifest.ts';
export { BitnetError } from '../errors.ts';
export { parseTargets, type Target, targets } from '../targets/index.ts';
export type { Progress } from './build/artifact.ts';
export { importModel } from './import/index.ts';
export type { Encoding, Hyper, ModelIR, TensorIR } from './ir/model.ts';
export type { Plan, Step } from './ir/plan.ts';
export { formatName, type KernelName, parseName } from './kernels/name.ts';
export { type CompileOptions, type CompileResult, compile, lowerModel, type Stages } from './pipeline.ts';
