import type { Manifest } from '../../artifact/manifest.ts';
import type { GenerationOutput, NativeGenerateOptions } from './addon.ts';
import type { Engine } from './engine.ts';
import type { CheckedGenerateOptions } from './options.ts';
import { type GenerationStats, statsOf } from './stats.ts';
import { StopStrings } from './stop-strings.ts';
import type { Tokenizer } from './tokenizer/index.ts';

/** How many tokens the engine may be ahead of who reads them. */
const QUEUE = 32;

/**
 * Why a generation ended: `stop`: a stop token or stop string; `length`: `maxTokens` were made; `context`: there is no
 * room for more; `cancelled`: the reader left the loop.
 */
export type FinishReason = 'stop' | 'length' | 'context' | 'cancelled';

export interface GenerationResult {
  readonly text: string;
  /** The new tokens, without the stop token. */
  readonly tokens: readonly number[];
  readonly finishReason: FinishReason;
  /** Gives the same text again. */
  readonly seed: number;
  readonly stats: GenerationStats;
}

/** What a generation needs of the model that makes it. */
export interface GenerationSource {
  readonly engine: Engine;
  readonly manifest: Manifest;
  readonly tokenizer: Tokenizer;
  /** Ids of the prompt. */
  readonly prompt: () => Promise<Int32Array>;
  /** The new text goes on where the prompt ends, rather than beginning one of its own. */
  readonly continues: boolean;
  readonly options: CheckedGenerateOptions;
}

/**
 * Text being generated. `for await` gives it piece by piece, leaving the loop cancels; or await `result`, which reads it
 * to the end. It starts when it is first read, can be read once, and is never more than a few tokens ahead of its reader.
 */
export class Generation implements AsyncIterable<string> {
  readonly #source: GenerationSource;
  #reader: AsyncGenerator<string, void, void> | undefined;
  readonly #result: Promise<GenerationResult>;
  #resolve!: (result: GenerationResult) => void;
  #reject!: (reason: unknown) => void;

  constructor(source: GenerationSource) {
    this.#source = source;
    this.#result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Who iterates meets the error there, and need not look at the result.
    this.#result.catch(() => {});
  }

  /** The whole text and what it cost. Rejects with what ended the generation: an error, or the signal's reason. */
  get result(): Promise<GenerationResult> {
    if (!this.#reader) void this.#readToEnd();
    return this.#result;
  }

  [Symbol.asyncIterator](): AsyncGenerator<string, void, void> {
    if (this.#reader) throw new Error('a generation can be read only once: await its result, or generate again');
    this.#reader = this.#read();
    return this.#reader;
  }

  async #readToEnd(): Promise<void> {
    try {
      for await (const _ of this);
    } catch {
      // It is the result's rejection.
    }
  }

  async *#read(): AsyncGenerator<string, void, void> {
    const { engine, manifest, tokenizer, prompt, continues, options } = this.#source;
    const { signal } = options;
    const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
    const decoder = tokenizer.stream({ continues });
    const stops = new StopStrings(options.stop);
    const tokens: number[] = [];
    let text = '';
    let finishReason: FinishReason = 'cancelled';
    let stats = NO_STATS;
    try {
      const ids = await prompt();
      const native = nativeOptions(options, seed, tokenizer);
      for await (const output of engine.run<GenerationOutput>((it) => it.generate(ids, native), signal)) {
        stats = output.stats;
        for (const token of output.tokens) {
          tokens.push(token);
          const piece = stops.push(decoder.push(token));
          text += piece;
          if (piece !== '') yield piece;
          if (stops.found) break;
          signal?.throwIfAborted();
        }
        if (stops.found) finishReason = 'stop';
        else if (output.ending !== 'none') finishReason = output.ending as FinishReason;
        if (stops.found) break;
      }
      const rest = stops.push(decoder.end()) + stops.end();
      text += rest;
      if (rest !== '') yield rest;
    } catch (reason) {
      this.#reject(reason);
      throw reason;
    } finally {
      this.#resolve({ text, tokens, finishReason, seed, stats: statsOf(stats, manifest) });
    }
  }
}

const NO_STATS = {
  promptTokens: 0,
  cachedTokens: 0,
  prefillNs: 0,
  firstTokenNs: 0,
  decodeTokens: 0,
  decodeNs: 0,
  counts: { steps: 0, zeros: 0, zeroColumns: 0, screened: 0, rows: 0, screenBytes: 0, headBytes: 0 },
};

function nativeOptions(
  options: CheckedGenerateOptions,
  seed: number,
  { vocab, stopTokens }: Tokenizer,
): NativeGenerateOptions {
  const biases = Object.entries(options.logitBias);
  return {
    maxTokens: options.maxTokens,
    vocab,
    screen: options.screen,
    queue: QUEUE,
    stopTokens: Int32Array.from(options.ignoreEos ? [] : stopTokens),
    temperature: options.temperature,
    topK: options.topK,
    topP: options.topP,
    minP: options.minP,
    repetitionPenalty: options.repetitionPenalty,
    presencePenalty: options.presencePenalty,
    frequencyPenalty: options.frequencyPenalty,
    penaltyLastN: options.penaltyLastN,
    seed,
    biasTokens: Int32Array.from(biases, ([id]) => Number(id)),
    biases: Float64Array.from(biases, ([, bias]) => bias),
  };
}
