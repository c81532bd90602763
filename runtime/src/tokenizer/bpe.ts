import { BYTE_CHARS, bytesOfText } from '../../../artifact/tokenizer/byte-alphabet.ts';
import type { MergeTable } from '../../../artifact/tokenizer/merge-table.ts';
import { mergesOf, type TokenizerTables } from '../../../artifact/tokenizer/tables.ts';
import { utf8 } from '../../../artifact/tokenizer/utf8.ts';
import type { Steps } from '../../../slices.ts';
import { mergeSymbols } from './merge.ts';
import { type PreTokenizerEntry, preTokenizer } from './pretokenize.ts';
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

  /** @throws BitnetError for an unknown pre-tokenizer */
  constructor(tables: TokenizerTables, vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
    this.#unknown = tables.scalars.unknown;
    this.#pre = preTokenizer(tables.scalars.pre);
    this.#merges = mergesOf(tables)!;
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
      for (const byte of utf8(word)) spelled += BYTE_CHARS[byte];
      const id = this.#vocabulary.texts.find(spelled);
      if (id >= 0) return Int32Array.of(id);
    }
    const symbols = yield* this.#byteTokens(word);
    return symbols.subarray(0, yield* mergeSymbols(symbols, this.#merges));
  }

  *#byteTokens(word: string): Steps<Int32Array> {
    const ids = new Int32Array(utf8(word).length);
    let count = 0;
    for (let from = 0; from < word.length; ) {
      let to = Math.min(word.length, from + 4096);
      if (to < word.length && /[\ud800-\udbff]/.test(word[to - 1]!)) to--;
      for (const byte of utf8(word.slice(from, to))) ids[count++] = byteToken(this.#vocabulary, this.#unknown, byte);
      from = to;
      if (from < word.length) yield;
    }
    return ids;
  }
}
