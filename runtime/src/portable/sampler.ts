/**
 * Choosing the next token from the logits: the steps of runtime/native/engine/sampler.h, in their order and with their
 * roundings. With the same logits, options and seed it chooses the same tokens.
 */
import type { NativeGenerateOptions } from '../addon.ts';
import { type FoundLogits, type NeededLogits, SCREEN_KEEP } from './executor.ts';
import { Random } from './random.ts';
import { bounded, HALVINGS, mayBeDrawn, nucleus, reaching, total, weight } from './weights.ts';

export type SamplingOptions = Pick<
  NativeGenerateOptions,
  | 'temperature'
  | 'topK'
  | 'topP'
  | 'minP'
  | 'repetitionPenalty'
  | 'presencePenalty'
  | 'frequencyPenalty'
  | 'penaltyLastN'
  | 'seed'
  | 'biasTokens'
  | 'biases'
>;

const FORBIDDEN = Number.NEGATIVE_INFINITY;
/** Of the nucleus: how many of the most probable tokens are tried first, and how many times more each time after. */
const NUCLEUS = 256;
const NUCLEUS_GROWTH = 16;

export class Sampler {
  readonly #options: SamplingOptions;
  /** How often a weight is halved for each 1 that a logit lies below the largest; 0: the largest logit is taken. */
  readonly #rate: number;
  /** log(min-p), or undefined where all may be drawn. */
  readonly #minP: number | undefined;
  readonly #penaltyLastN: number;
  readonly #biases = new Map<number, number>();
  readonly #random: Random;
  /** The last tokens, and how often each is among them. */
  readonly #window: number[] = [];
  readonly #counts = new Map<number, number>();

  constructor(options: SamplingOptions) {
    const { temperature, minP, penaltyLastN, repetitionPenalty, presencePenalty, frequencyPenalty } = options;
    const penalises = repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0;
    this.#options = options;
    this.#rate = temperature === 0 ? 0 : HALVINGS / temperature;
    this.#minP = minP > 0 ? Math.fround(Math.log(minP)) : undefined;
    this.#penaltyLastN = penalises ? Math.max(penaltyLastN, 0) : 0;
    options.biasTokens.forEach((id, i) => {
      this.#biases.set(id, Math.fround((this.#biases.get(id) ?? 0) + Math.fround(options.biases[i]!)));
    });
    this.#random = new Random(options.seed);
  }

  /** Tells the penalties that the text has this token. */
  accept(token: number): void {
    if (this.#penaltyLastN === 0) return;
    this.#window.push(token);
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
    if (this.#window.length <= this.#penaltyLastN) return;
    const oldest = this.#window.shift()!;
    const left = this.#counts.get(oldest)! - 1;
    if (left === 0) this.#counts.delete(oldest);
    else this.#counts.set(oldest, left);
  }

  /**
   * What `sample` needs; undefined where that may be all logits. With only those, and -infinity for the others, it returns
   * the same token and draws the same random numbers.
   */
  needed(vocab: number): NeededLogits | undefined {
    const { topK, topP } = this.#options;
    let keep = 1;
    let margin = 0;
    if (this.#rate !== 0) {
      if (topK > 0 && topK < vocab) keep = topK;
      else if (topP < 1 || this.#minP === undefined) return undefined;
      else margin = -this.#minP;
    }
    const rows = new Set([...this.#biases.keys(), ...this.#counts.keys()]);
    keep += rows.size;
    if (rows.size > SCREEN_KEEP || keep > SCREEN_KEEP) return undefined;
    return { vocab, keep, margin, rows: [...rows].sort((a, b) => a - b) };
  }

  /** As `sample` on all of the `vocab` logits, of which those are known that `needed` has asked for. */
  sampleFound({ ids, logits }: FoundLogits, vocab: number): number {
    const at = new Map(ids.map((id, i) => [id, i]));
    const chosen = this.#choose(logits, vocab, (id) => at.get(id)!);
    return chosen < 0 ? chosen : ids[chosen]!;
  }

  /** The next token, or -1 where no logit is a number. Changes `logits` (bias and penalties). */
  sample(logits: Float32Array): number {
    return this.#choose(logits, logits.length, (id) => id);
  }

  /** The index of the next token's logit; `at` says which one an id's is. */
  #choose(logits: Float32Array, vocab: number, at: (id: number) => number): number {
    if (logits.length === 0) return -1;
    this.#adjust(logits, at);
    const best = largestIndex(logits);
    const { topK, topP } = this.#options;
    if (logits[best] === FORBIDDEN) return -1;
    if (this.#rate === 0) return best;

    const largest = logits[best]!;
    const least = this.#minP === undefined ? FORBIDDEN : Math.fround(largest + this.#minP);
    const passes = (id: number) => logits[id]! >= least;
    if (topK > 0 && topK < vocab) {
      const kept = keepLargest(logits, topK);
      const cut =
        topP < 1
          ? this.#cutTopP(
              logits,
              kept,
              total(kept, (id) => weight(logits[id]!, largest)),
            )
          : kept;
      return this.#draw(logits, largest, cut.filter(passes));
    }
    if (topP < 1) return this.#draw(logits, largest, this.#nucleus(logits, largest).filter(passes));
    const candidates: number[] = [];
    for (let id = 0; id < logits.length; id++) {
      if (logits[id]! >= least && logits[id]! > FORBIDDEN) candidates.push(id);
    }
    return this.#draw(logits, largest, candidates);
  }

  #adjust(logits: Float32Array, at: (id: number) => number): void {
    const { repetitionPenalty, presencePenalty, frequencyPenalty } = this.#options;
    for (let id = 0; id < logits.length; id++) logits[id] = bounded(logits[id]!);
    for (const [id, bias] of this.#biases) logits[at(id)] = bounded(Math.fround(logits[at(id)]! + bias));
    for (const [id, count] of this.#counts) {
      const logit = logits[at(id)]!;
      if (!mayBeDrawn(logit)) continue;
      const repeated = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
      logits[at(id)] = bounded(Math.fround(repeated - count * frequencyPenalty - presencePenalty));
    }
  }

  /** Top-p over the whole vocabulary. The nucleus is nearly always small, so the largest few hundred are tried first. */
  #nucleus(logits: Float32Array, largest: number): number[] {
    const all = total(logits, (logit) => weight(logit, largest));
    for (let count = NUCLEUS; ; count *= NUCLEUS_GROWTH) {
      const tried = Math.min(count, logits.length);
      const kept = keepLargest(logits, tried);
      const cut = this.#cutTopP(logits, kept, all);
      if (cut.length < kept.length || kept.length < tried || tried === logits.length) return cut;
    }
  }

  /** Cuts sorted candidates after the one with which their share of all weights reaches top-p. */
  #cutTopP(logits: Float32Array, candidates: number[], all: bigint): number[] {
    const wanted = nucleus(all, this.#options.topP);
    const largest = logits[candidates[0]!]!;
    const end = reaching(candidates, (id) => weight(logits[id]!, largest), wanted);
    return end === undefined ? candidates : candidates.slice(0, end + 1);
  }

  #draw(logits: Float32Array, largest: number, candidates: readonly number[]): number {
    const weightOf = (id: number) => weight(logits[id]!, largest, this.#rate);
    const drawn = 1n + (((this.#random.next() >> 11n) * total(candidates, weightOf)) >> 53n);
    return candidates[reaching(candidates, weightOf, drawn)!]!;
  }
}

/** Index of the largest value, the first of equals; none is NaN. */
function largestIndex(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/**
 * The `count` ids with the largest logits above -infinity, largest first, the lower id first of equals. A list collects what
 * exceeds the largest logit known to be too small, and is cut when full.
 */
function keepLargest(logits: Float32Array, count: number): number[] {
  const before = (a: number, b: number) => logits[b]! - logits[a]! || a - b;
  const full = count * 2 + 256;
  let threshold = FORBIDDEN;
  let kept: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    // Ids rise, so one equal to the threshold can only come after what has been kept.
    if (!(logits[id]! > threshold)) continue;
    kept.push(id);
    if (kept.length < full) continue;
    kept = kept.sort(before).slice(0, count);
    threshold = logits[kept[count - 1]!]!;
  }
  return kept.sort(before).slice(0, count);
}
