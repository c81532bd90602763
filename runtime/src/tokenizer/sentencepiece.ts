import type { MergeTable } from '../../../artifact/tokenizer/merge-table.ts';
import { mergesOf, type TokenizerTables } from '../../../artifact/tokenizer/tables.ts';
import { utf8 } from '../../../artifact/tokenizer/utf8.ts';
import type { Steps } from '../../../slices.ts';
import { type MergeRules, mergeSymbols } from './merge.ts';
import type { TextModel } from './text-model.ts';
import { byteToken, type Vocabulary } from './vocabulary.ts';

/** U+2581, which stands for a space in the vocabulary. */
const SPACE_MARK = '▁';

/**
 * SentencePiece's BPE (Llama 2, Gemma): characters merged by the score of the token that they make, or by rank where the
 * model comes with merges, then byte fallback.
 */
export class SentencePiece implements TextModel {
  readonly #vocabulary: Vocabulary;
  readonly #unknown: number | null;
  readonly #scores: Float32Array;
  readonly #merges: MergeTable | null;
  readonly #spacePrefix: boolean;

  constructor(tables: TokenizerTables, vocabulary: Vocabulary) {
    this.#vocabulary = vocabulary;
    this.#unknown = tables.scalars.unknown;
    this.#scores = tables.scores;
    this.#merges = mergesOf(tables);
    this.#spacePrefix = tables.scalars.addSpacePrefix;
  }

  *encode(text: string, ids: number[]): Steps<void> {
    const pieces = new Pieces(this.#vocabulary, this.#scores);
    const characters = new Int32Array(text.length + 1);
    let count = 0;
    if (this.#spacePrefix) characters[count++] = pieces.idOf(SPACE_MARK);
    for (const char of text) {
      characters[count++] = pieces.idOf(char === ' ' ? SPACE_MARK : char);
      if (count % 4096 === 0) yield;
    }
    const symbols = characters.subarray(0, count);
    const merged = yield* mergeSymbols(symbols, this.#merges ?? pieces);
    for (let n = 0; n < merged; n++) {
      if (n % 1024 === 1023) yield;
      const symbol = symbols[n]!;
      if (symbol < this.#vocabulary.texts.length) ids.push(symbol);
      else for (const byte of utf8(pieces.textOf(symbol))) ids.push(byteToken(this.#vocabulary, this.#unknown, byte));
    }
  }

  bytesOf(token: string): Uint8Array {
    return utf8(token.replaceAll(SPACE_MARK, ' '));
  }
}

/** The symbols of one text: tokens, and the characters that are no token, numbered after them. Rules are tokens. */
class Pieces implements MergeRules {
  readonly #vocabulary: Vocabulary;
  readonly #scores: Float32Array;
  readonly #foreign: string[] = [];
  readonly #foreignIds = new Map<string, number>();

  constructor(vocabulary: Vocabulary, scores: Float32Array) {
    this.#vocabulary = vocabulary;
    this.#scores = scores;
  }

  idOf(char: string): number {
    const token = this.#vocabulary.texts.find(char);
    if (token >= 0) return token;
    const known = this.#foreignIds.get(char);
    if (known !== undefined) return known;
    if (/^\p{Cs}$/u.test(char)) return this.idOf('\ufffd');
    const id = this.#vocabulary.texts.length + this.#foreign.length;
    this.#foreign.push(char);
    this.#foreignIds.set(char, id);
    return id;
  }

  textOf(id: number): string {
    const { texts } = this.#vocabulary;
    return id < texts.length ? texts.of(id) : this.#foreign[id - texts.length]!;
  }

  find(left: number, right: number): number {
    const first = this.textOf(left);
    const second = this.textOf(right);
    if (first.length + second.length > this.#vocabulary.longest) return -1;
    return this.#vocabulary.texts.find(first + second);
  }

  priority(token: number): number {
    return -this.#scores[token]!;
  }

  result(token: number): number {
    return token;
  }
}
