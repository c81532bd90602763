import { BYTE, byteOf, CONTROL, TEXT, UNUSED } from '../../../artifact/tokenizer/kinds.ts';
import type { TokenizerTables } from '../../../artifact/tokenizer/tables.ts';
import { utf8 } from '../../../artifact/tokenizer/utf8.ts';
import { BitnetError } from '../../../errors.ts';
import { finish, finishInSlices, type Steps } from '../../../slices.ts';
import { ByteLevelBpe } from './bpe.ts';
import { SentencePiece } from './sentencepiece.ts';
import { SpecialTokens } from './specials.ts';
import { TextStream } from './stream.ts';
import type { TextModel } from './text-model.ts';
import { type Vocabulary, vocabularyOf } from './vocabulary.ts';

export interface EncodeOptions {
  /** Put the BOS token first, unless the text opens with it already. Default: as the model was trained. */
  readonly addBos?: boolean;
  /** Put the EOS token last, unless the text closes with it already. Default: as the model was trained. */
  readonly addEos?: boolean;
  /**
   * Read control tokens that are written out in the text, as `<|eot_id|>`. Default false: whoever writes the text
   * can't forge them.
   */
  readonly special?: boolean;
}

export interface DecodeOptions {
  /** Write control tokens out. Default false: they leave no trace. */
  readonly special?: boolean;
  /** The ids continue a text: keep the space that SentencePiece puts before a first word. Default false. */
  readonly continues?: boolean;
}

/** Text to token ids and back, as the model was trained with. */
export interface Tokenizer {
  /** Number of token ids. */
  readonly vocab: number;
  readonly bos: number | null;
  readonly eos: number | null;
  /** End of turn. */
  readonly eot: number | null;
  /** Every token at which generation should stop: EOS, EOT, and control tokens that other models call so. */
  readonly stopTokens: ReadonlySet<number>;
  /** Any string has an encoding: a lone surrogate counts as U+FFFD. */
  encode(text: string, options?: EncodeOptions): number[];
  /** What `encode` returns, without holding the event loop for more than about two milliseconds. */
  encodeAsync(text: string, options?: EncodeOptions): Promise<number[]>;
  /** Bytes that are not UTF-8 become U+FFFD. @throws BitnetError for an id outside the vocabulary */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** Decodes one id at a time. */
  stream(options?: DecodeOptions): TokenStream;
  /** A token as the vocabulary spells it. @throws BitnetError for an id outside the vocabulary */
  tokenText(id: number): string;
  /** The bytes that a token adds to a text; of a control token, its name. @throws BitnetError for an id outside the vocabulary */
  tokenBytes(id: number): Uint8Array;
}

/** Streaming decoder: the pieces joined are the text that `decode` returns, and no piece ends inside a character. */
export interface TokenStream {
  /** The text that this id completes, often '' when a character takes several tokens. */
  push(id: number): string;
  /** What is left: U+FFFD for a character that was never completed. The stream may be used anew after it. */
  end(): string;
}

/** The tokenizer of a model's tables, which it only views. @throws BitnetError for a pre-tokenizer that we lack */
export function createTokenizer(tables: TokenizerTables): Tokenizer {
  const vocabulary = vocabularyOf(tables);
  const model =
    tables.scalars.model === 'llama' ? new SentencePiece(tables, vocabulary) : new ByteLevelBpe(tables, vocabulary);
  return new ModelTokenizer(tables, vocabulary, model);
}

class ModelTokenizer implements Tokenizer {
  readonly vocab: number;
  readonly bos: number | null;
  readonly eos: number | null;
  readonly eot: number | null;
  readonly stopTokens: ReadonlySet<number>;
  readonly #defaults: { readonly addBos: boolean; readonly addEos: boolean };
  readonly #spacePrefix: boolean;
  readonly #vocabulary: Vocabulary;
  readonly #model: TextModel;
  readonly #added: SpecialTokens;
  readonly #all: SpecialTokens;

  constructor({ scalars }: TokenizerTables, vocabulary: Vocabulary, model: TextModel) {
    this.vocab = vocabulary.texts.length;
    this.bos = scalars.bos;
    this.eos = scalars.eos;
    this.eot = scalars.eot;
    this.stopTokens = vocabulary.stop;
    this.#defaults = { addBos: scalars.addBos, addEos: scalars.addEos };
    this.#spacePrefix = scalars.model === 'llama' && scalars.addSpacePrefix;
    this.#vocabulary = vocabulary;
    this.#model = model;
    this.#added = new SpecialTokens(vocabulary.added);
    this.#all = new SpecialTokens(new Map([...vocabulary.added, ...vocabulary.control]));
  }

  encode(text: string, options: EncodeOptions = {}): number[] {
    return finish(this.#encode(text, options));
  }

  async encodeAsync(text: string, options: EncodeOptions = {}): Promise<number[]> {
    return finishInSlices(this.#encode(text, options));
  }

  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const stream = this.stream(options);
    let text = '';
    for (const id of ids) text += stream.push(id);
    return text + stream.end();
  }

  stream({ special = false, continues = false }: DecodeOptions = {}): TokenStream {
    const bytesOf = (id: number) => (special || !this.#hidden(id) ? this.tokenBytes(id) : new Uint8Array());
    return new TextStream(bytesOf, this.#spacePrefix && !continues);
  }

  tokenText(id: number): string {
    this.#check(id);
    return this.#vocabulary.texts.of(id);
  }

  tokenBytes(id: number): Uint8Array {
    const token = this.tokenText(id);
    const kind = this.#vocabulary.kinds[id];
    if (kind === TEXT) return this.#model.bytesOf(token);
    return kind === BYTE ? Uint8Array.of(byteOf(token)) : utf8(token);
  }

  *#encode(text: string, { addBos, addEos, special = false }: EncodeOptions): Steps<number[]> {
    const ids: number[] = [];
    yield* this.#encodeParts(text, special ? this.#all : this.#added, ids);
    if ((addBos ?? this.#defaults.addBos) && ids[0] !== this.bos) ids.unshift(this.#need('bos'));
    if ((addEos ?? this.#defaults.addEos) && ids.at(-1) !== this.eos) ids.push(this.#need('eos'));
    return ids;
  }

  /** Special tokens, and the text between them. */
  *#encodeParts(text: string, specials: SpecialTokens, ids: number[]): Steps<void> {
    const STRIDE = 4096;
    let start = 0;
    for (let at = 0; at < text.length && !specials.empty; ) {
      const to = Math.min(text.length, at + STRIDE);
      const found = specials.find(text, at, to);
      at = found?.end ?? to;
      if (found) {
        if (found.start > start) yield* this.#model.encode(text.slice(start, found.start), ids);
        ids.push(found.id);
        start = found.end;
      }
      yield;
    }
    if (start < text.length) yield* this.#model.encode(text.slice(start), ids);
  }

  #hidden(id: number): boolean {
    const kind = this.#vocabulary.kinds[id];
    return kind === CONTROL || kind === UNUSED;
  }

  #need(name: 'bos' | 'eos'): number {
    const id = this[name];
    if (id === null) throw new BitnetError(`tokenizer: the model has no ${name} token`);
    return id;
  }

  #check(id: number): void {
    if (Number.isInteger(id) && id >= 0 && id < this.vocab) return;
    throw new BitnetError(`token id ${id} is outside the vocabulary (0 to ${this.vocab - 1})`);
  }
}
