import type { TokenizerData } from '../../../artifact/tokenizer.ts';
import { BitnetError } from '../../../errors.ts';
import { BYTE_CHARS, bytesOfText } from './byte-alphabet.ts';
import { type MergeRules, mergeSymbols } from './merge.ts';
import { type PreTokenizerEntry, preTokenizer } from './pretokenize.ts';
import type { Steps } from './slices.ts';
import type { TextModel } from './text-model.ts';
import { byteToken, type Vocabulary } from './vocabulary.ts';

/** Longer words are not cached: V8 keeps a whole text alive for the sake of a longer substring of it. */
const CACHED_LENGTH = 12;
const CACHED_WORDS = 16384;

/** Byte-level BPE (GPT-2): words of a pre-tokenizer, in UTF-8 bytes, merged by rank. */
export class ByteLevelBpe implements TextModel {
  readonly #vocabulary: Vocabulary;
  readonly #unknown: number | null;
  readonly #pre: PreTokenizerEntry;
  readonly #merges: MergeTable;
  readonly #cache = new Map<string, Int32Array>();

  private constructor(vocabulary: Vocabulary, unknown: number | null, pre: PreTokenizerEntry, merges: MergeTable) {
    this.#vocabulary = vocabulary;
    this.#unknown = unknown;
    this.#pre = pre;
    this.#merges = merges;
  }

  /** @throws BitnetError for an unknown pre-tokenizer, no merges, or a merge that isn't a pair. */
  static *build(data: TokenizerData, vocabulary: Vocabulary): Steps<ByteLevelBpe> {
    const pre = preTokenizer(data.pre);
    return new ByteLevelBpe(vocabulary, data.unknown, pre, yield* readMerges(data.merges, vocabulary.text));
  }

  *encode(text: string, ids: number[]): Steps<void> {
    let start = 0;
    let words = 0;
    for (const end of this.#pre.words(text, 0, text.length)) {
      if (end === start || ++words % 64 === 0) yield;
      if (end === start) continue;
      const word = text.slice(start, end);
      start = end;
      const short = word.length <= CACHED_LENGTH;
      let found = short ? this.#cache.get(word) : undefined;
      if (found === undefined) {
        found = yield* this.#encodeWord(word);
        if (short) this.#remember(word, found);
      }
      for (let n = 0; n < found.length; n++) {
        ids.push(found[n]!);
        if (n % 8192 === 8191) yield;
      }
    }
  }

  #remember(word: string, ids: Int32Array): void {
    if (this.#cache.size >= CACHED_WORDS) this.#cache.clear();
    this.#cache.set(word, ids);
  }

  bytesOf(token: string): Uint8Array {
    return bytesOfText(token);
  }

  *#encodeWord(word: string): Steps<Int32Array> {
    if (this.#pre.wholeWords && word.length <= this.#vocabulary.longest) {
      let spelled = '';
      for (const byte of Buffer.from(word)) spelled += BYTE_CHARS[byte];
      const id = this.#vocabulary.text.get(spelled);
      if (id !== undefined) return Int32Array.of(id);
    }
    const symbols = yield* this.#byteTokens(word);
    return symbols.subarray(0, yield* mergeSymbols(symbols, this.#merges));
  }

  *#byteTokens(word: string): Steps<Int32Array> {
    const ids = new Int32Array(Buffer.byteLength(word));
    let count = 0;
    for (let from = 0; from < word.length; ) {
      let to = Math.min(word.length, from + 4096);
      if (to < word.length && /[\ud800-\udbff]/.test(word[to - 1]!)) to--;
      for (const byte of Buffer.from(word.slice(from, to)))
        ids[count++] = byteToken(this.#vocabulary, this.#unknown, byte);
      from = to;
      if (from < word.length) yield;
    }
    return ids;
  }
}

/**
 * Rank and result of each pair of tokens, in a hash table of ranks with open addressing: a quarter of a Map's memory.
 * The multipliers are drawn anew for each table, so that no file can be made to collide.
 */
class MergeTable implements MergeRules {
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #results: Int32Array;
  /** Rank + 1, or 0. */
  readonly #slots: Int32Array;
  readonly #shift: number;
  readonly #leftFactor = oddFactor();
  readonly #rightFactor = oddFactor();

  constructor(count: number) {
    this.#left = new Int32Array(count);
    this.#right = new Int32Array(count);
    this.#results = new Int32Array(count);
    const bits = Math.max(1, Math.ceil(Math.log2(count * 2)));
    this.#slots = new Int32Array(2 ** bits);
    this.#shift = 32 - bits;
  }

  /** Of two equal pairs the first counts. */
  add(rank: number, left: number, right: number, result: number): void {
    const slot = this.#slotOf(left, right);
    if (this.#slots[slot] !== 0) return;
    this.#left[rank] = left;
    this.#right[rank] = right;
    this.#results[rank] = result;
    this.#slots[slot] = rank + 1;
  }

  find(left: number, right: number): number {
    return this.#slots[this.#slotOf(left, right)]! - 1;
  }

  priority(rank: number): number {
    return rank;
  }

  result(rank: number): number {
    return this.#results[rank]!;
  }

  /** Where the pair is, or would be. */
  #slotOf(left: number, right: number): number {
    const slots = this.#slots;
    let slot = (Math.imul(left, this.#leftFactor) + Math.imul(right, this.#rightFactor)) >>> this.#shift;
    for (;;) {
      const rank = slots[slot]! - 1;
      if (rank < 0 || (this.#left[rank] === left && this.#right[rank] === right)) return slot;
      slot = (slot + 1) & (slots.length - 1);
    }
  }
}

function oddFactor(): number {
  return Math.floor(Math.random() * 2 ** 32) | 1;
}

/** Pairs of which a part or the result is no text token can never apply, and are left out. */
function* readMerges(merges: readonly string[], text: ReadonlyMap<string, number>): Steps<MergeTable> {
  if (merges.length === 0) throw new BitnetError('tokenizer: a gpt2 vocabulary without merges');
  const table = new MergeTable(merges.length);
  for (let rank = 0; rank < merges.length; rank++) {
    if (rank % 256 === 255) yield;
    const merge = merges[rank]!;
    const gap = merge.indexOf(' ', 1);
    if (gap < 0 || gap === merge.length - 1) {
      throw new BitnetError(`tokenizer: merge ${rank} is ${JSON.stringify(merge.slice(0, 80))}, not a pair`, {
        hint: 'Each merge is two tokens with a space between. The model file is damaged.',
      });
    }
    const first = merge.slice(0, gap);
    const second = merge.slice(gap + 1);
    const left = text.get(first);
    const right = text.get(second);
    const result = text.get(first + second);
    if (left !== undefined && right !== undefined && result !== undefined) table.add(rank, left, right, result);
  }
  return table;
}
