import * as z from 'zod';
import { ABI_VERSION, ARTIFACT_FORMAT } from './version.ts';

const hex = z.string().regex(/^[0-9a-f]+$/);
const count = z.number().int().nonnegative();

const kernel = z.strictObject({
  /** `bn_<maths>__<machine>`: see compiler/kernels/name.ts. */
  name: z.string(),
  /** The plan step that uses it, as `qkv`, `gate_up`, `down`, …; all its uses, in order. */
  uses: z.array(z.string()),
  /** Why this kernel and this tile: `heuristic`, or the file that asked for it. */
  reason: z.string(),
  /** What bn_model_info.self_test must write for it, 16 hexadecimal digits. */
  checksum: hex.length(16),
  /** Where GPUs share the model, `checksum` is the first one's, and these are the others': each has rows of its own. */
  others: z.array(hex.length(16)).optional(),
});

const target = z.strictObject({
  /** Content key of sources, flags and toolchain; compiled into the library too. */
  key: hex,
  /** Shared library, relative to the artifact's folder. */
  library: z.string(),
  /** Of the library. Checked before it is opened: a damaged one could end the process. */
  sha256: hex.length(64),
  /** Which of `weights` it reads. */
  layout: z.string(),
  /** `x86-64` or `aarch64`, or `any` where the code fits the machine it was built on. */
  arch: z.string(),
  /** CPU features that must be there before the library is opened. */
  features: z.array(z.string()),
  /** Among the targets that a machine can run, the highest rank wins. */
  rank: count,
  compiler: z.string(),
  flags: z.array(z.string()),
  kernels: z.array(kernel),
  /** GPUs that share the model, where they are more than one. */
  gpus: count.optional(),
});

const tensor = z.strictObject({
  /** Plan name, as `embedding`, `output_norm`, of a layer `qkv`, `down`, … */
  name: z.string(),
  encoding: z.string(),
  rows: count,
  cols: count,
  offset: count,
  bytes: count,
});

const weights = z.strictObject({
  file: z.string(),
  bytes: count,
  /** Of the whole file, which is too long to check at every load. */
  sha256: hex.length(64),
  /** What is not of a layer. */
  tensors: z.array(tensor),
  /** The first layer begins at `offset`, each has `bytes`; all hold these tensors, their offsets from the layer's start. */
  layers: z.strictObject({ offset: count, bytes: count, tensors: z.array(tensor) }),
});

/** `manifest.json`: all that the runtime needs to know of an artifact before it opens a library of it. */
export const manifestSchema = z.strictObject({
  format: z.literal(ARTIFACT_FORMAT),
  abi: z.literal(ABI_VERSION),
  /** Version of the compiler that wrote it. */
  compiler: z.string(),
  model: z.strictObject({
    name: z.string(),
    architecture: z.string(),
    /** sha256 of the model file it was compiled from. */
    sha256: hex.length(64),
    parameters: count,
    layers: count,
    embedding: count,
    ffn: count,
    heads: count,
    kvHeads: count,
    headDim: count,
    vocab: count,
    context: count,
    activation: z.string(),
    tiedHead: z.boolean(),
    /** How hidden states become one vector for a text, where the model file says. */
    pooling: z.enum(['mean', 'cls', 'last']).optional(),
  }),
  tokenizer: z.strictObject({
    file: z.string(),
    /** Of the whole file, checked whenever it is read: see tokenizer/file.ts for what is in it. */
    sha256: hex.length(64),
  }),
  /** Bytes of weights that a decode step reads if it skips nothing: all but the embedding table's other rows. */
  bytesPerToken: count,
  /** Where a step of one token skips what meets a zero: bytes of one row of `up`, and of one column of `down`. */
  skips: z.strictObject({ rowBytes: count, columnBytes: count }).optional(),
  weights: z.record(z.string(), weights),
  targets: z.record(z.string(), target),
});

export type Manifest = z.infer<typeof manifestSchema>;
export type TargetEntry = z.infer<typeof target>;
export type KernelEntry = z.infer<typeof kernel>;
export type WeightsEntry = z.infer<typeof weights>;
export type TensorEntry = z.infer<typeof tensor>;
