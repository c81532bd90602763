import { type TokenizerTables, textsOf } from '../../../artifact/tokenizer/tables.ts';
import type { TokenTexts } from '../../../artifact/tokenizer/token-texts.ts';
import { BitnetError } from '../../../errors.ts';

/** A token list, sorted into what each token is for. */
export interface Vocabulary {
  /** All tokens; those that plain text can become can be found. */
  readonly texts: TokenTexts;
  /** What each token is for: see artifact/tokenizer/kinds.ts. */
  readonly kinds: Uint8Array;
  /** Tokens that are cut out of any text before it is encoded. */
  readonly added: ReadonlyMap<string, number>;
  /** Tokens that are cut out of a text only when its writer is trusted with them. */
  readonly control: ReadonlyMap<string, number>;
  /** Token of each byte, -1 where there is none. */
  readonly bytes: Int32Array;
  /** Length of the longest text that can be found, in UTF-16 units. */
  readonly longest: number;
  /** Tokens that end a text or a turn. */
  readonly stop: ReadonlySet<number>;
}

/** The vocabulary of a tokenizer's tables. */
export function vocabularyOf(tables: TokenizerTables): Vocabulary {
  const texts = textsOf(tables);
  const named = (ids: Int32Array) => new Map(Array.from(ids, (id) => [texts.of(id), id]));
  const { kinds, bytes, longest } = tables;
  return {
    texts,
    kinds,
    added: named(tables.added),
    control: named(tables.control),
    bytes,
    longest,
    stop: new Set(tables.stop),
  };
}

/**
 * The token of a single byte, else the unknown token.
 * @throws BitnetError if the vocabulary has neither this byte nor an unknown token.
 */
export function byteToken(vocabulary: Vocabulary, unknown: number | null, byte: number): number {
  const id = vocabulary.bytes[byte]! >= 0 ? vocabulary.bytes[byte]! : unknown;
  if (id === null) {
    const hex = byte.toString(16).toUpperCase().padStart(2, '0');
    throw new BitnetError(`tokenizer: the vocabulary can't express byte 0x${hex} of the text`, {
      hint: 'It has no token for this byte and no unknown token; leave the character out.',
    });
  }
  return id;
}
