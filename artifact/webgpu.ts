/**
 * The contract between a model compiled for WebGPU and what runs it: `model.json` of the target's folder. It lists the shaders,
 * each in all its variants, the buffers they work on, and which of them a step launches.
 */

/** Bumped when an older runtime could misread a newer program. */
export const WEBGPU_VERSION = 2;

/**
 * What shaders have variants for: products of packed int8 (`packed_4x8_integer_dot_product`), subgroups, and a cache of float32
 * keys and values instead of float16 ones.
 */
export const FLAGS = ['dot4', 'subgroups', 'f32'] as const;
export type Flag = (typeof FLAGS)[number];

/** How a shader uses what is bound at 0, 1, 2 and so on of its only group. */
export type Access = 'uniform' | 'read' | 'write';

export interface Shader {
  readonly bindings: readonly Access[];
  /** What it has variants for. */
  readonly flags: readonly Flag[];
  /** WGSL by the flags that are set, in their order and joined by `+`. The entry point is `main`. */
  readonly variants: Readonly<Record<string, string>>;
}

/** Something of the weights file; offsets of a layer's tensors count from the layer's start. */
export interface GpuTensor {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
  /** Where it may be cut into parts that are bound one at a time: units of so many bytes and places, of which it has so many. */
  readonly units?: { readonly places: number; readonly bytes: number; readonly total: number };
}

/**
 * One launch. What it binds are names: of plan buffers, of weights (`layer.qkv`, `shared.head`), or `step`, `angles`, `kv`,
 * `logits`, `states`, `parts`, `slices`, `bins`, `found`, `more`. Binding 0, `place`, is not listed.
 */
export interface Launch {
  readonly shader: string;
  readonly bind: readonly string[];
  /** The tensor that may be bound part by part, a launch for each. */
  readonly over?: string;
  /** Workgroups; or of the tensor's places, how many each has. */
  readonly x: number | { readonly each: number };
  /** Tokens, or rows of logits, that a workgroup takes; none: one workgroup. */
  readonly y?: { readonly of: 'tokens' | 'rows'; readonly each: number };
  /** As many workgroups deep as attention splits contexts. */
  readonly split?: boolean;
  /**
   * Only in steps that have so many rows of logits, or split contexts, or of which all tokens follow each other in one sequence,
   * or not.
   */
  readonly when?: 'one row' | 'several rows' | 'split' | 'following' | 'scattered';
}

/** What steps of so many tokens at most launch. */
export interface StepProgram {
  readonly maxTokens: number;
  /** Positions that attention takes at a time: contexts are split into parts of no fewer. */
  readonly run: number;
  readonly prologue: readonly Launch[];
  readonly layer: readonly Launch[];
  readonly epilogue: readonly Launch[];
}

/** A ternary matrix and the launches that multiply by it, for the self-test. */
export interface Trial {
  /** The kernel as the manifest has it. */
  readonly kernel: string;
  readonly m: number;
  readonly k: number;
  readonly tokens: number;
  readonly q: string;
  readonly quant: string;
  readonly out: string;
  readonly launch: Launch;
}

export interface WebGpuProgram {
  readonly version: typeof WEBGPU_VERSION;
  /** Equals targets[id].key of the manifest. */
  readonly key: string;
  readonly layers: number;
  readonly vocab: number;
  readonly embedding: number;
  readonly context: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Radians a position for each rotating pair, and those of layers that attend to a window. */
  readonly frequencies: readonly number[];
  readonly localFrequencies: readonly number[] | null;
  readonly window: { readonly positions: number; readonly local: readonly boolean[] } | null;
  /** Bytes of a token in each buffer. */
  readonly buffers: Readonly<Record<string, number>>;
  readonly weights: {
    readonly shared: readonly GpuTensor[];
    readonly layer: readonly GpuTensor[];
    readonly layerBase: number;
    readonly layerBytes: number;
    readonly bytes: number;
  };
  readonly shaders: Readonly<Record<string, Shader>>;
  /** WGSL of a function `fused`, for drivers whose `fma` rounds twice. */
  readonly fused: string;
  /** A step takes the first that has room for its tokens. */
  readonly programs: readonly StepProgram[];
  /** The largest logit of one row; and the largest ones. */
  readonly greedy: readonly Launch[];
  readonly choices: readonly Launch[];
  /** What `found` has room for, slices that `largest` makes, and bins of the histogram. */
  readonly sampling: { readonly room: number; readonly slices: number; readonly bins: number };
  /** Contexts of so many positions are not split. */
  readonly whole: number;
  readonly trials: readonly Trial[];
  /** Reads so many bytes with a workgroup; and so many multiply-accumulates of one. */
  readonly probes: { readonly readBytes: number; readonly macs: number };
}
