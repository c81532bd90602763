import { inspect } from 'node:util';
import * as z from 'zod';
import { BitnetError } from '../../errors.ts';

// Every option is described by the values it allows, as the end of a sentence: the description is the error message.

const number = (min: number, max: number) => z.number().min(min).max(max);
const integer = (min: number, max: number) => z.number().int().min(min).max(max);
const signal = z.instanceof(AbortSignal).optional().describe('an AbortSignal');
const callback = <Callback>() => z.custom<Callback>((value) => typeof value === 'function');

const loadSchema = z.strictObject({
  target: z.string().optional().describe('the name of a target'),
  device: integer(0, 63).optional().describe('a whole number from 0 to 63'),
  devices: z
    .array(integer(0, 63))
    .min(1)
    .max(8)
    .refine((list) => new Set(list).size === list.length)
    .optional()
    .describe('an array of one to eight whole numbers from 0 to 63, each of them once'),
  threads: integer(1, 256).optional().describe('a whole number from 1 to 256'),
  pin: z.boolean().default(false).describe('true or false'),
  contextLength: integer(1, 2 ** 24)
    .optional()
    .describe('a whole number from 1 to the context of the model'),
  kv: z.enum(['f16', 'f32']).default('f16').describe("'f16' or 'f32'"),
  sequences: integer(1, 64).default(4).describe('a whole number from 1 to 64'),
  prefillChunk: integer(1, 4096).optional().describe('a whole number from 1 to 4096'),
  onProgress: callback<(progress: LoadProgress) => void>().optional().describe('a function'),
  signal,
});

/** How a model is opened. */
export interface LoadOptions {
  /** Run this target, instead of the best one that the machine can run. */
  readonly target?: string;
  /** Which GPU target `cuda` runs on, as `listGpus` counts them. Default 0. */
  readonly device?: number;
  /** Instead of `device`, GPUs that share the model, which was compiled for as many. Default then: the first of them. */
  readonly devices?: readonly number[];
  /** Threads that compute. Default: the physical cores that this process may use. */
  readonly threads?: number;
  /** Pin each of them to a CPU. Default false. */
  readonly pin?: boolean;
  /** Tokens that a prompt and its continuation may have. Default: the model's context, but no more than 4096. */
  readonly contextLength?: number;
  /** How keys and values are cached: float16 (default), or float32 for twice the memory. */
  readonly kv?: 'f16' | 'f32';
  /** Generations and embeddings that run at once; more than that wait for their turn. Default 4. */
  readonly sequences?: number;
  /** Prompt tokens that a step takes at most: small is quicker to cancel and kinder to others. Default 128, on a GPU 2048. */
  readonly prefillChunk?: number;
  readonly onProgress?: (progress: LoadProgress) => void;
  readonly signal?: AbortSignal;
}

export interface LoadProgress {
  /** `upload`: weights go to a GPU. */
  readonly stage: 'manifest' | 'tokenizer' | 'upload' | 'self-test' | 'ready';
  /** Of the stage, from 0 to 1, where it is known. */
  readonly fraction?: number;
}

const { contextLength, kv, sequences, prefillChunk, threads } = loadSchema.shape;

const browserSchema = z.strictObject({
  targets: z.array(z.string()).min(1).optional().describe('an array of names of targets, the first that runs is taken'),
  threads,
  contextLength,
  kv,
  sequences,
  prefillChunk,
  memoryLimit: integer(1, Number.MAX_SAFE_INTEGER).optional().describe('a whole number of bytes'),
  onProgress: callback<(progress: BrowserProgress) => void>().optional().describe('a function'),
  signal,
});

/** How a model is loaded into a page. */
export interface BrowserLoadOptions
  extends Pick<LoadOptions, 'contextLength' | 'kv' | 'sequences' | 'prefillChunk' | 'signal'> {
  /** Targets to try, in this order. Default: all that there are, the fastest first. */
  readonly targets?: readonly string[];
  /** Threads that compute. Default: about half of what the browser says there are; one where the page is not cross-origin isolated. */
  readonly threads?: number;
  /** Bytes that the model may take in memory: its weights, its KV cache and what it works with. Default: no limit of its own. */
  readonly memoryLimit?: number;
  readonly onProgress?: (progress: BrowserProgress) => void;
}

export interface BrowserProgress {
  readonly stage: 'manifest' | 'tokenizer' | 'weights' | 'ready';
  /** Of `weights`: the target that they are for. Where it does not open in the end, the next one's come after them. */
  readonly target?: string;
  /** Of `weights`: bytes that have come so far, and of how many. What is stored already comes at once. */
  readonly loaded?: number;
  readonly total?: number;
}

const generateSchema = z.strictObject({
  maxTokens: integer(1, 2 ** 31)
    .default(2 ** 31)
    .describe('a whole number from 1'),
  temperature: number(0, 100).default(0.8).describe('a number from 0 to 100'),
  topK: integer(0, 2 ** 31 - 1)
    .default(40)
    .describe('a whole number from 0 (all tokens)'),
  topP: number(0, 1).default(0.95).describe('a number from 0 to 1'),
  minP: number(0, 1).default(0.05).describe('a number from 0 to 1'),
  repetitionPenalty: number(0.01, 100).default(1).describe('a number from 0.01 to 100'),
  presencePenalty: number(-100, 100).default(0).describe('a number from -100 to 100'),
  frequencyPenalty: number(-100, 100).default(0).describe('a number from -100 to 100'),
  penaltyLastN: integer(0, 2 ** 20)
    .default(64)
    .describe(`a whole number from 0 to ${2 ** 20}`),
  seed: integer(0, Number.MAX_SAFE_INTEGER).optional().describe(`a whole number from 0 to ${Number.MAX_SAFE_INTEGER}`),
  stop: z.array(z.string().min(1)).max(64).default([]).describe('an array of at most 64 strings, none of them empty'),
  logitBias: z
    .record(z.string().regex(/^\d+$/), z.union([number(-100, 100), z.literal(-Infinity)]))
    .default({})
    .describe('an object of token ids with numbers from -100 to 100, or -Infinity'),
  signal,
  ignoreEos: z.boolean().default(false).describe('true or false'),
  screen: z.boolean().default(true).describe('true or false'),
});

/** How text is generated. */
export interface GenerateOptions {
  /** New tokens at most. Default: until the context is full. */
  readonly maxTokens?: number;
  /** Divides the logits: 0 always takes the most probable token, 1 samples as the model was trained. Default 0.8. */
  readonly temperature?: number;
  /** Sample from the k most probable tokens; 0 from all. Default 40. */
  readonly topK?: number;
  /** Sample from the fewest tokens whose probabilities add up to p; 1 from all. Default 0.95. */
  readonly topP?: number;
  /** Leave out tokens less probable than this share of the most probable one; 0 leaves out none. Default 0.05. */
  readonly minP?: number;
  /** Divides (or, below zero, multiplies) the logits of recent tokens. Default 1: no penalty. */
  readonly repetitionPenalty?: number;
  /** Subtracted from the logits of recent tokens. Default 0. */
  readonly presencePenalty?: number;
  /** Subtracted from the logit of a recent token for each time it occurs. Default 0. */
  readonly frequencyPenalty?: number;
  /** How many tokens count as recent, the prompt's included. Default 64. */
  readonly penaltyLastN?: number;
  /** The same seed, model, target and options give the same text. Default: another one each time. */
  readonly seed?: number;
  /** Stop before any of these texts. */
  readonly stop?: readonly string[];
  /** Added to the logits of these tokens; -Infinity forbids one. */
  readonly logitBias?: Readonly<Record<number, number>>;
  readonly signal?: AbortSignal;
  /** Go on after the model's stop tokens. Default false. */
  readonly ignoreEos?: boolean;
  /**
   * Where the sampling allows it (temperature 0, top-k, or min-p without top-p), find the logits that matter by the coarse
   * copy of the head that larger models are compiled with. It changes the speed, never a token. Default true.
   */
  readonly screen?: boolean;
}

const perplexitySchema = z.strictObject({
  window: integer(2, 2 ** 24)
    .default(256)
    .describe('a whole number from 2'),
  onProgress: callback<(done: number, total: number) => void>().optional().describe('a function'),
  signal,
});

export interface PerplexityOptions {
  /** Tokens of each window. Default 256. */
  readonly window?: number;
  /** Called with the tokens predicted so far, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const counts = (min: number) =>
  z
    .array(integer(min, 2 ** 24))
    .min(1)
    .max(64);

const benchmarkSchema = z.strictObject({
  promptTokens: counts(1).default([128]).describe('an array of whole numbers from 1'),
  newTokens: integer(1, 2 ** 24)
    .default(128)
    .describe('a whole number from 1'),
  contexts: counts(0).default([0]).describe('an array of whole numbers from 0'),
  sequences: counts(1).default([1]).describe('an array of whole numbers from 1'),
  repetitions: integer(1, 1000).default(6).describe('a whole number from 1 to 1000'),
  screen: z.boolean().default(true).describe('true or false'),
  onProgress: callback<(done: number, total: number) => void>().optional().describe('a function'),
  signal,
});

export interface BenchmarkOptions {
  /** Lengths of prompts to prefill. Default 128. */
  readonly promptTokens?: readonly number[];
  /** Tokens that each sequence decodes. Default 128. */
  readonly newTokens?: number;
  /** Tokens that are in the KV cache before either begins. Default 0. */
  readonly contexts?: readonly number[];
  /** How many sequences decode at once. Default 1. */
  readonly sequences?: readonly number[];
  /** Runs of each. Default 6: the fewest whose median has an interval of 95% confidence. */
  readonly repetitions?: number;
  /** As of GenerateOptions. */
  readonly screen?: boolean;
  /** Called with the runs done so far, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

const embedSchema = z.strictObject({
  pooling: z.enum(['last', 'mean', 'cls']).optional().describe("'last', 'mean' or 'cls'"),
  normalize: z.boolean().default(true).describe('true or false'),
  truncate: z.boolean().default(false).describe('true or false'),
  onProgress: callback<(done: number, total: number) => void>().optional().describe('a function'),
  signal,
});

/** How the hidden states of a text become one vector: the last token's, their mean, or the first token's. */
export type Pooling = 'last' | 'mean' | 'cls';

export interface EmbedOptions {
  /** Default: as the model file says; if it says nothing, the last token's hidden state. */
  readonly pooling?: Pooling;
  /** Scale vectors to a length of 1, so that a dot product is the cosine of their angle. Default true. */
  readonly normalize?: boolean;
  /** Embed the beginning of a text that is too long. Default false: it is an error. */
  readonly truncate?: boolean;
  /** Called with the texts done so far, and of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** The options with their defaults in place. @throws BitnetError for a bad one */
export const checkLoadOptions = (options: LoadOptions) => check(loadSchema, options);
export const checkBrowserOptions = (options: BrowserLoadOptions) => check(browserSchema, options);
export const checkGenerateOptions = (options: GenerateOptions) => check(generateSchema, options);
export const checkPerplexityOptions = (options: PerplexityOptions) => check(perplexitySchema, options);
export const checkEmbedOptions = (options: EmbedOptions) => check(embedSchema, options);
export const checkBenchmarkOptions = (options: BenchmarkOptions) => check(benchmarkSchema, options);

export type CheckedGenerateOptions = ReturnType<typeof checkGenerateOptions>;
export type CheckedEmbedOptions = ReturnType<typeof checkEmbedOptions>;
export type CheckedBenchmarkOptions = ReturnType<typeof checkBenchmarkOptions>;

function check<Shape extends z.core.$ZodLooseShape>(
  schema: z.ZodObject<Shape, z.core.$strict>,
  options: unknown,
): z.output<z.ZodObject<Shape, z.core.$strict>> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  if (issue.code === 'unrecognized_keys') {
    const known = Object.keys(schema.shape).join(', ');
    throw new BitnetError(`there is no option ${issue.keys.join(', ')}`, { hint: `The options are ${known}.` });
  }
  const name = issue.path[0];
  if (name === undefined) throw new BitnetError(`the options are ${inspect(options)}, they must be an object`);
  const value = inspect((options as Record<PropertyKey, unknown>)[name], { depth: 1, maxStringLength: 60 });
  const field = schema.shape[String(name)] as z.ZodType;
  throw new BitnetError(`option ${String(name)} is ${value}, it must be ${field.description}`);
}
