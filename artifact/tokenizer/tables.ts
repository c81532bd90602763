import type { TokenizerData } from './data.ts';
import type { Factors } from './hash.ts';
import { MergeTable } from './merge-table.ts';
import { TokenTexts } from './token-texts.ts';

/** All of a tokenizer that is no list. */
export type TokenizerScalars = Omit<TokenizerData, 'tokens' | 'types' | 'scores' | 'merges'>;

/** The lists of a tokenizer, as they lie in its file: in this order, every one a multiple of eight bytes after its start. */
export const SECTIONS = {
  /** Where the text of each token begins in `units`, and where the last one ends. */
  offsets: Uint32Array,
  /** The texts of all tokens in UTF-16, one after the other. */
  units: Uint16Array,
  /** What each token is for: see kinds.ts. */
  kinds: Uint8Array,
  /** Hash table from text to token: see TokenTexts. */
  textSlots: Int32Array,
  /** Token of each byte, -1 where there is none. */
  bytes: Int32Array,
  /** Tokens that are cut out of any text before it is encoded, no two of the same text. */
  added: Int32Array,
  /** Tokens that are cut out of a text only when its writer is trusted with them, no two of the same text. */
  control: Int32Array,
  /** Tokens that end a text or a turn. */
  stop: Int32Array,
  /** Score of each token, where pairs are merged by score. */
  scores: Float32Array,
  /** Columns of the merge table, without the pairs that can never apply. */
  left: Int32Array,
  right: Int32Array,
  results: Int32Array,
  /** Hash table from pair to rank: see MergeTable. Empty where the model has no merges. */
  mergeSlots: Int32Array,
};

export type Section = keyof typeof SECTIONS;
type Lists = {
  readonly offsets: Uint32Array;
  readonly units: Uint16Array;
  readonly kinds: Uint8Array;
  readonly scores: Float32Array;
} & { readonly [name in Exclude<Section, 'offsets' | 'units' | 'kinds' | 'scores'>]: Int32Array };

/** A tokenizer ready to use: what buildTables makes of the model's lists, and what its file holds. */
export interface TokenizerTables extends Lists {
  readonly scalars: TokenizerScalars;
  /** Length of the longest text that can be found, in UTF-16 units. */
  readonly longest: number;
  readonly textFactors: Factors;
  readonly mergeFactors: Factors;
}

/** The texts of the tables' tokens. */
export function textsOf({ units, offsets, textSlots, textFactors }: TokenizerTables): TokenTexts {
  const all = new TextDecoder('utf-16le', { ignoreBOM: true }).decode(units);
  return new TokenTexts(all, offsets, textSlots, textFactors);
}

/** The tables' merges, or null where the model has none. */
export function mergesOf({ left, right, results, mergeSlots, mergeFactors }: TokenizerTables): MergeTable | null {
  return mergeSlots.length > 0 ? new MergeTable({ left, right, results }, mergeSlots, mergeFactors) : null;
}
