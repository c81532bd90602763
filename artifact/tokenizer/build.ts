import { BitnetError } from '../../errors.ts';
import type { Steps } from '../../slices.ts';
import { BYTE_CHARS } from './byte-alphabet.ts';
import type { TokenizerData } from './data.ts';
import { factorsOf } from './factors.ts';
import { emptySlots } from './hash.ts';
import { ADDED, BYTE, byteOf, CONTROL, END_NAMES, kindOf, TEXT, UNUSED } from './kinds.ts';
import { MergeTable } from './merge-table.ts';
import type { TokenizerTables } from './tables.ts';
import { TokenTexts } from './token-texts.ts';

/** Bounds the search for control and added tokens in a text. Real ones have less than 100 units. */
const LONGEST_SPECIAL = 512;

/**
 * Makes a tokenizer's tables of the lists in its model file.
 * @throws BitnetError where lists differ in length, a special token is outside the list or absurdly long, a gpt2
 * vocabulary has no merges, or a merge is no pair
 */
export function* buildTables(data: TokenizerData): Steps<TokenizerTables> {
  check(data);
  const { tokens, types, scores, merges, ...scalars } = data;
  const { texts, ...vocabulary } = yield* sortTokens(data);
  const bytes = vocabulary.bytes;
  if (data.model === 'gpt2') for (let byte = 0; byte < 256; byte++) bytes[byte] = texts.find(BYTE_CHARS[byte]!);
  return {
    scalars,
    ...vocabulary,
    scores: data.model === 'llama' ? Float32Array.from(scores) : new Float32Array(),
    ...(yield* rankMerges(data, texts)),
  };
}

/** Sorts a model's token list into what each token is for. Of equal texts the lowest id counts. */
function* sortTokens(data: TokenizerData) {
  const { tokens, types } = data;
  const { units, offsets, all } = joinTexts(tokens);
  const textSlots = emptySlots(tokens.length);
  const textFactors = factorsOf(asBytes(units), asBytes(offsets));
  const texts = new TokenTexts(all, offsets, textSlots, textFactors);
  const kinds = new Uint8Array(tokens.length);
  const bytes = new Int32Array(256).fill(-1);
  const added = new Map<string, number>();
  const control = new Map<string, number>();
  const special = new Set([data.bos, data.eos, data.eot]);
  const stop = new Set<number>();
  let longest = 0;

  for (let id = 0; id < tokens.length; id++) {
    if (id % 512 === 511) yield;
    const token = tokens[id]!;
    let kind = kindOf(data, id);
    const ends = END_NAMES.has(token) && (kind !== TEXT || types.length === 0);
    if (ends) stop.add(id);
    if (ends || special.has(id)) kind = CONTROL;
    kinds[id] = kind;
    if (token === '') continue;
    if (kind === TEXT) {
      texts.add(id);
      longest = Math.max(longest, token.length);
    } else if (kind === BYTE) {
      const byte = byteOf(token);
      if (data.model === 'llama' && bytes[byte] === -1) bytes[byte] = id;
    } else if (kind !== UNUSED) {
      if (token.length > LONGEST_SPECIAL) {
        throw new BitnetError(
          `tokenizer: special token ${id} has ${token.length} characters, more than ${LONGEST_SPECIAL}`,
        );
      }
      const names = kind === ADDED ? added : control;
      if (!names.has(token)) names.set(token, id);
    }
  }
  if (data.eos !== null) stop.add(data.eos);
  if (data.eot !== null) stop.add(data.eot);
  const lists = { added: idsOf(added), control: idsOf(control), stop: Int32Array.from(stop) };
  return { texts, units, offsets, textSlots, textFactors, kinds, bytes, longest, ...lists };
}

function joinTexts(tokens: readonly string[]): { all: string; units: Uint16Array; offsets: Uint32Array } {
  const all = tokens.join('');
  const units = new Uint16Array(all.length);
  Buffer.from(units.buffer).write(all, 'utf16le');
  const offsets = new Uint32Array(tokens.length + 1);
  for (let id = 0; id < tokens.length; id++) offsets[id + 1] = offsets[id]! + tokens[id]!.length;
  return { all, units, offsets };
}

const idsOf = (names: ReadonlyMap<string, number>) => Int32Array.from(names.values());

const asBytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);

/**
 * The `left right` pairs of a vocabulary, in order of rank. Those of which a part or the result is no text token can
 * never apply, and are left out.
 */
function* rankMerges({ model, merges }: TokenizerData, texts: TokenTexts) {
  if (merges.length === 0 && model === 'gpt2') throw new BitnetError('tokenizer: a gpt2 vocabulary without merges');
  const pairs = { left: [] as number[], right: [] as number[], results: [] as number[] };
  for (let rank = 0; rank < merges.length; rank++) {
    if (rank % 256 === 255) yield;
    const [first, second] = pairOf(merges[rank]!, rank);
    const found = { left: texts.find(first), right: texts.find(second), results: texts.find(first + second) };
    if (found.left < 0 || found.right < 0 || found.results < 0) continue;
    for (const column of ['left', 'right', 'results'] as const) pairs[column].push(found[column]);
  }
  const left = Int32Array.from(pairs.left);
  const right = Int32Array.from(pairs.right);
  const results = Int32Array.from(pairs.results);
  const mergeSlots = merges.length > 0 ? emptySlots(left.length) : new Int32Array();
  const mergeFactors = factorsOf(asBytes(left), asBytes(right));
  const table = new MergeTable({ left, right, results }, mergeSlots, mergeFactors);
  for (let rank = 0; rank < left.length; rank++) {
    if (rank % 4096 === 4095) yield;
    table.add(rank);
  }
  return { left, right, results, mergeSlots, mergeFactors };
}

function pairOf(merge: string, rank: number): [first: string, second: string] {
  const gap = merge.indexOf(' ', 1);
  if (gap < 0 || gap === merge.length - 1) {
    throw new BitnetError(`tokenizer: merge ${rank} is ${JSON.stringify(merge.slice(0, 80))}, not a pair`, {
      hint: 'Each merge is two tokens with a space between. The model file is damaged.',
    });
  }
  return [merge.slice(0, gap), merge.slice(gap + 1)];
}

function check(data: TokenizerData): void {
  const count = data.tokens.length;
  if (count === 0) throw new BitnetError('tokenizer: the vocabulary is empty');
  const lists = data.model === 'llama' ? (['types', 'scores'] as const) : (['types'] as const);
  for (const list of lists) {
    const length = data[list].length;
    if (length !== count && (list === 'scores' || length !== 0)) {
      throw new BitnetError(`tokenizer: ${count} tokens but ${length} ${list}`, { hint: 'The model file is damaged.' });
    }
  }
  for (const name of ['bos', 'eos', 'eot', 'unknown', 'padding'] as const) {
    const id = data[name];
    if (id !== null && !(Number.isInteger(id) && id >= 0 && id < count)) {
      throw new BitnetError(`tokenizer: the ${name} token is ${id}, outside the vocabulary (0 to ${count - 1})`);
    }
  }
  for (const [wanted, name] of [
    ['addBos', 'bos'],
    ['addEos', 'eos'],
  ] as const) {
    if (data[wanted] && data[name] === null) {
      throw new BitnetError(`tokenizer: every text is to get a ${name} token, but the model names none`);
    }
  }
}
