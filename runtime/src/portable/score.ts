import { type Next, NOT_NUMBERS, type SequenceRequest, type StepResult, type Tell } from './request.ts';

/**
 * How surprised the model is by a text. It is cut into windows of `window` tokens (the last may be shorter), each run from an
 * empty cache, and -ln p(token | those before it in the window) added up over all but the first token of each. Float64 from
 * the logits on.
 */
export class Score implements SequenceRequest {
  tokens: readonly number[] = [];
  readonly reusesCache = false;
  readonly tell: Tell;
  readonly #text: readonly number[];
  readonly #window: number;
  #start = 0;
  #nll = 0;
  #predicted = 0;

  /** `text` has at least two tokens, `window` is at least two. */
  constructor(text: Int32Array, window: number, tell: Tell) {
    this.#text = [...text];
    this.#window = window;
    this.tell = tell;
    this.#nextWindow();
  }

  started(): void {}

  ready(): boolean {
    return true;
  }

  taken(): void {}

  wantsLogits(): boolean {
    return true;
  }

  needed(): undefined {
    return undefined;
  }

  maxRows(): number {
    return Number.POSITIVE_INFINITY;
  }

  accept({ first, count, logits, vocab }: StepResult): Next {
    let sum = 0;
    for (let row = 0; row < count; row++) {
      const target = this.#text[this.#start + first + row + 1]!;
      sum += surprise(logits.subarray(row * vocab, (row + 1) * vocab), target);
    }
    if (Number.isNaN(sum)) return this.#end('error', NOT_NUMBERS);
    this.#nll += sum;
    this.#predicted += count;
    if (first + count < this.tokens.length) {
      this.tell({ ending: 'none', error: '', nll: this.#nll, predicted: this.#predicted });
      return 'more';
    }
    this.#start += this.#window;
    if (!this.#nextWindow()) return this.#end('done');
    this.tell({ ending: 'none', error: '', nll: this.#nll, predicted: this.#predicted });
    return 'restart';
  }

  /** Puts all but the last token of the window that begins at #start into `tokens`. False: there is none left to predict. */
  #nextWindow(): boolean {
    const end = Math.min(this.#start + this.#window, this.#text.length);
    if (end < this.#start + 2) return false;
    this.tokens = this.#text.slice(this.#start, end - 1);
    return true;
  }

  #end(ending: 'done' | 'error', error = ''): Next {
    this.tell({ ending, error, nll: this.#nll, predicted: this.#predicted });
    return 'ended';
  }
}

/** -ln softmax(logits)[target], stable for any size of logits. */
function surprise(logits: Float32Array, target: number): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum) - logits[target]!;
}
