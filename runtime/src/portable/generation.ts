import type { NativeCounts, NativeGenerateOptions, NativeOutput } from '../addon.ts';
import type { NeededLogits } from './executor.ts';
import { clock } from './protocol.ts';
import { type Next, NOT_NUMBERS, type SequenceRequest, type StepResult, type Tell } from './request.ts';
import { Sampler } from './sampler.ts';

/** Screening pays where it reads less than this share of the head; where not, it is tried again so many tokens later. */
const SCREEN_PAYS = 0.9;
const TRY_AGAIN = 64;

/** Text generation: prefill of a prompt, then one token after the other. */
export class Generation implements SequenceRequest {
  readonly tokens: number[];
  readonly reusesCache = true;
  readonly tell: Tell;
  readonly #options: NativeGenerateOptions;
  readonly #submitted: number;
  readonly #promptSize: number;
  readonly #sampler: Sampler;
  /** How many tokens are still to read all of the head, as screening it read too much. */
  #wholeHeads = 0;
  /** Told and not taken. */
  #waiting = 0;
  readonly #stats = {
    promptTokens: 0,
    cachedTokens: 0,
    prefillNs: 0,
    firstTokenNs: 0,
    decodeTokens: 0,
    decodeNs: 0,
    counts: { steps: 0, zeros: 0, zeroColumns: 0, screened: 0, rows: 0, screenBytes: 0, headBytes: 0 },
  };

  constructor(prompt: Int32Array, options: NativeGenerateOptions, submitted: number, tell: Tell) {
    this.tokens = [...prompt];
    this.tell = tell;
    this.#options = options;
    this.#submitted = submitted;
    this.#promptSize = prompt.length;
    this.#stats.promptTokens = prompt.length;
    this.#sampler = new Sampler(options);
    for (const token of prompt) this.#sampler.accept(token);
  }

  started(cachedTokens: number): void {
    this.#stats.cachedTokens = cachedTokens;
  }

  ready(): boolean {
    return this.#waiting < this.#options.queue;
  }

  taken(count: number): void {
    this.#waiting -= count;
  }

  wantsLogits(index: number): boolean {
    return index + 1 === this.tokens.length;
  }

  needed(vocab: number): NeededLogits | undefined {
    if (!this.#options.screen || (this.#wholeHeads > 0 && this.#wholeHeads-- > 0)) return undefined;
    return this.#sampler.needed(Math.min(vocab, this.#options.vocab));
  }

  maxRows(): number {
    return Number.POSITIVE_INFINITY;
  }

  accept({ first, count, logits, found, vocab, context, counts, took }: StepResult): Next {
    const options = this.#options;
    const stats = this.#stats;
    const ran = first + count;
    const complete = ran === this.tokens.length;
    const begun = performance.now();
    const choices = Math.min(vocab, options.vocab);
    const token = complete
      ? found
        ? this.#sampler.sampleFound(found, choices)
        : this.#sampler.sample(logits.subarray(0, choices))
      : -1;
    const ns = (took + performance.now() - begun) * 1e6;
    if (counts.screenBytes > SCREEN_PAYS * counts.headBytes) this.#wholeHeads = TRY_AGAIN;
    if (ran <= this.#promptSize) {
      stats.prefillNs += ns;
      if (complete) stats.firstTokenNs = (clock() - this.#submitted) * 1e6;
    } else {
      stats.decodeNs += ns;
      stats.decodeTokens++;
      for (const name of Object.keys(counts) as (keyof NativeCounts)[]) stats.counts[name] += counts[name];
    }
    if (!complete) return 'more';
    if (token < 0) return this.#end('error', [], NOT_NUMBERS);
    if (options.stopTokens.includes(token)) return this.#end('stop', []);
    this.#sampler.accept(token);
    this.tokens.push(token);
    this.#waiting++;
    if (this.tokens.length - this.#promptSize >= options.maxTokens) return this.#end('length', [token]);
    if (this.tokens.length > context) return this.#end('context', [token]);
    this.tell({ ending: 'none', error: '', tokens: [token], stats });
    return 'more';
  }

  #end(ending: NativeOutput['ending'], tokens: readonly number[], error = ''): Next {
    this.tell({ ending, error, tokens, stats: this.#stats });
    return 'ended';
  }
}
