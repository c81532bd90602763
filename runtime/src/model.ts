import type { Manifest } from '../../artifact/manifest.ts';
import { BitnetError } from '../../errors.ts';
import type { LogitsOutput, ScoreOutput } from './addon.ts';
import { type BenchmarkResult, runBenchmark } from './benchmark.ts';
import { type ChatMessage, renderChat } from './chat.ts';
import { embedTexts } from './embed.ts';
import type { Engine } from './engine.ts';
import { Generation } from './generate.ts';
import {
  type BenchmarkOptions,
  checkBenchmarkOptions,
  checkEmbedOptions,
  checkGenerateOptions,
  checkPerplexityOptions,
  type EmbedOptions,
  type GenerateOptions,
  type PerplexityOptions,
  type Pooling,
} from './options.ts';
import type { Tokenizer } from './tokenizer/index.ts';

export interface ChatGenerateOptions extends GenerateOptions {
  /** JSON descriptions of functions that the model may call, for templates that know of them. */
  readonly tools?: readonly object[];
}

export interface TokenizeOptions {
  /** Put the BOS token first. Default: as the model was trained. */
  readonly addBos?: boolean;
  /** Read control tokens that are written out in the text. Default false. */
  readonly special?: boolean;
}

export interface LogitsResult {
  /** Row after row: data[row * vocab + id]. */
  readonly data: Float32Array;
  /** One for each token: row i predicts token i + 1. */
  readonly rows: number;
  readonly vocab: number;
}

export interface PerplexityResult {
  /** Mean negative log-likelihood of a predicted token, in nats. */
  readonly nll: number;
  /** exp(nll). */
  readonly perplexity: number;
  /** How many tokens were predicted. */
  readonly tokens: number;
}

/** Memory in bytes. */
export interface MemoryUse {
  /** Of the weights file, mapped; the system may drop and reread what is not in use. On a GPU, its own memory. */
  readonly weights: number;
  /** Address space of the KV cache; pages count once they are used. On a GPU, its own memory, taken when it is opened. */
  readonly kv: number;
  readonly workspace: number;
  /** What the whole process has in memory now; in a browser, what the engine has. */
  readonly resident: number;
}

export interface ModelParts {
  readonly manifest: Manifest;
  readonly target: string;
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  readonly chatTemplate: string | null;
  readonly sequences: number;
  /** See MemoryUse. */
  readonly resident: () => number;
}

/** A model that is ready to run. Any number of generations may run at once; they share the steps of one engine. */
export class Model {
  readonly manifest: Manifest;
  /** The target that runs. */
  readonly target: string;
  readonly tokenizer: Tokenizer;
  /** The model's own Jinja template for conversations. */
  readonly chatTemplate: string | null;
  /** Generations and embeddings that run at once. */
  readonly sequences: number;
  readonly #engine: Engine;
  readonly #resident: () => number;

  /** See openArtifact. */
  constructor({ manifest, target, engine, tokenizer, chatTemplate, sequences, resident }: ModelParts) {
    this.manifest = manifest;
    this.target = target;
    this.tokenizer = tokenizer;
    this.chatTemplate = chatTemplate;
    this.sequences = sequences;
    this.#engine = engine;
    this.#resident = resident;
  }

  /** Name, architecture and sizes. */
  get info(): Manifest['model'] {
    return this.manifest.model;
  }

  /** Name of the GPU that computes, or null where the CPU does. */
  get device(): string | null {
    return this.#engine.facts.device || null;
  }

  /** Threads that compute. */
  get threads(): number {
    return this.#engine.facts.threads;
  }

  /** Tokens that a prompt and its continuation may have. */
  get contextLength(): number {
    return this.#engine.facts.context;
  }

  memory(): MemoryUse {
    const { weightsBytes, kvBytes, workspaceBytes } = this.#engine.facts;
    return { weights: weightsBytes, kv: kvBytes, workspace: workspaceBytes, resident: this.#resident() };
  }

  /** Text to token ids. For long texts, `tokenizer.encodeAsync` lets the event loop breathe. */
  tokenize(text: string, { addBos, special = false }: TokenizeOptions = {}): number[] {
    return this.tokenizer.encode(text, { ...(addBos === undefined ? {} : { addBos }), addEos: false, special });
  }

  /** Token ids to text, control tokens left out. @throws BitnetError for an id outside the vocabulary */
  detokenize(ids: Iterable<number>): string {
    return this.tokenizer.decode(ids);
  }

  /**
   * Continues a text, or token ids taken as they are.
   * @throws BitnetError for a bad option; a prompt that does not fit the context fails when the generation is read
   */
  generate(prompt: string | readonly number[], options: GenerateOptions = {}): Generation {
    const ids = async () =>
      this.#prompt(typeof prompt === 'string' ? await this.tokenizer.encodeAsync(prompt, { addEos: false }) : prompt);
    return this.#generation(ids, options, true);
  }

  /**
   * Answers a conversation, written out by the model's own chat template.
   * @throws BitnetError for a bad option; a missing template or a conversation too long fails when the answer is read
   */
  chat(messages: readonly ChatMessage[], { tools, ...options }: ChatGenerateOptions = {}): Generation {
    const nameOf = (id: number | null) => (id === null ? '' : this.tokenizer.tokenText(id));
    const ids = async () => {
      const text = renderChat(this.chatTemplate, messages, {
        bosToken: nameOf(this.tokenizer.bos),
        eosToken: nameOf(this.tokenizer.eos),
        ...(tools ? { tools } : {}),
      });
      return this.#prompt(await this.tokenizer.encodeAsync(text, { addEos: false, special: true }));
    };
    return this.#generation(ids, options, false);
  }

  /** The logits after every token, in memory: tokens × vocabulary × 4 bytes. @throws BitnetError for bad tokens */
  async logits(tokens: readonly number[], options: { readonly signal?: AbortSignal } = {}): Promise<LogitsResult> {
    const vocab = this.#engine.facts.vocab;
    const data = new Float32Array(tokens.length * vocab);
    let filled = 0;
    for await (const rows of this.logitRows(tokens, options)) {
      data.set(rows, filled);
      filled += rows.length;
    }
    return { data, rows: tokens.length, vocab };
  }

  /** The logits after every token, a few whole rows at a time, computed no faster than they are read. */
  async *logitRows(
    tokens: readonly number[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<Float32Array, void, void> {
    const ids = this.#prompt(tokens);
    for await (const output of this.#engine.run<LogitsOutput>((it) => it.logits(ids), signal)) {
      if (output.rows.length > 0) yield output.rows;
    }
  }

  /** How hidden states become one vector where `embed` is not told: as the model file says, or the last token's. */
  get pooling(): Pooling {
    return this.info.pooling ?? 'last';
  }

  /**
   * Embeds texts: for each a vector of `info.embedding` values, made of the hidden states that the head would read. Many
   * texts share a step, in one of the model's `sequences`, beside whatever is being generated.
   * @throws BitnetError for a text that has more tokens than the context, or none; and for a bad option
   */
  async embed(texts: string | readonly string[], options: EmbedOptions = {}): Promise<Float32Array[]> {
    const checked = checkEmbedOptions(options);
    const list = typeof texts === 'string' ? [texts] : texts;
    if (!Array.isArray(list) || !list.every((text) => typeof text === 'string')) {
      throw new BitnetError('embed takes a text or an array of texts');
    }
    const source = {
      engine: this.#engine,
      tokenizer: this.tokenizer,
      pooling: this.pooling,
      size: this.info.embedding,
      limit: this.contextLength,
      trained: this.info.context,
    };
    return embedTexts(source, list, checked);
  }

  /**
   * How well the model predicts a text: windows of `window` tokens, each from an empty cache, all but the first token of
   * each predicted. A last window of one token is left out.
   * @throws BitnetError for bad tokens, fewer than two, or a window larger than the context
   */
  async perplexity(tokens: readonly number[], options: PerplexityOptions = {}): Promise<PerplexityResult> {
    const { window, onProgress, signal } = checkPerplexityOptions(options);
    if (Math.min(window, tokens.length) > this.contextLength) {
      throw new BitnetError(`option window is ${window}, the context has room for ${this.contextLength} tokens`);
    }
    if (tokens.length < 2) throw new BitnetError(`there are ${tokens.length} tokens, perplexity needs at least 2`);
    const ids = this.#ids(tokens);
    const total = tokens.length - Math.ceil(tokens.length / window);
    let sum = 0;
    let predicted = 0;
    for await (const output of this.#engine.run<ScoreOutput>((it) => it.score(ids, window), signal)) {
      sum = output.nll;
      predicted = output.tokens;
      onProgress?.(predicted, total);
    }
    const nll = sum / predicted;
    return { nll, perplexity: Math.exp(nll), tokens: predicted };
  }

  /** Speed of prefill and decode on random tokens, and of the machine. Let nothing else run meanwhile. */
  async benchmark(options: BenchmarkOptions = {}): Promise<BenchmarkResult> {
    const checked = checkBenchmarkOptions(options);
    const { layers, embedding, heads, kvHeads, headDim, ffn } = this.info;
    const subject = {
      target: this.target,
      manifest: this.manifest,
      positionBytes: this.#engine.facts.kvBytes / (this.sequences * this.contextLength),
      macsPerToken: layers * embedding * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * ffn),
      sequences: this.sequences,
    };
    return runBenchmark(this.#engine, subject, checked);
  }

  /** Ends whatever runs with an error and frees the memory. May be called at any time and more than once. */
  dispose(): Promise<void> {
    return this.#engine.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #generation(prompt: () => Promise<Int32Array>, options: GenerateOptions, continues: boolean): Generation {
    const checked = checkGenerateOptions(options);
    this.#ids(Object.keys(checked.logitBias).map(Number));
    return new Generation({
      engine: this.#engine,
      manifest: this.manifest,
      tokenizer: this.tokenizer,
      prompt,
      continues,
      options: checked,
    });
  }

  /** Ids that have to fit the context. */
  #prompt(tokens: readonly number[]): Int32Array {
    if (tokens.length === 0) throw new BitnetError('the prompt has no tokens');
    if (tokens.length > this.contextLength) {
      const more = this.contextLength < this.info.context ? `, or open the model with a larger contextLength` : '';
      throw new BitnetError(
        `the prompt has ${tokens.length} tokens, the context has room for ${this.contextLength} tokens`,
        { hint: `Shorten it${more}; the model was trained for up to ${this.info.context}.` },
      );
    }
    return this.#ids(tokens);
  }

  #ids(tokens: readonly number[]): Int32Array {
    const { vocab } = this.#engine.facts;
    const wrong = tokens.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocab));
    if (wrong !== undefined) throw new BitnetError(`token id ${wrong} is outside the vocabulary (0 to ${vocab - 1})`);
    return Int32Array.from(tokens);
  }
}
