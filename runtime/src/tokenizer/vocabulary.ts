import type { TokenizerData } from '../../../artifact/tokenizer.ts';
import { BitnetError } from '../../../errors.ts';
import { BYTE_CHARS } from './byte-alphabet.ts';
import type { Steps } from './slices.ts';

/** What a token is for, in GGUF's numbers. Type 2 (unknown) counts as CONTROL: it is not text either. */
export const TEXT = 1;
export const CONTROL = 3;
export const ADDED = 4;
export const UNUSED = 5;
export const BYTE = 6;

/** A token list, sorted into what each token is for. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  /** One of the constants above for each token. */
  readonly kinds: Uint8Array;
  /** Tokens that plain text can become. Of equal texts the lowest id counts. */
  readonly text: ReadonlyMap<string, number>;
  /** Tokens that are cut out of any text before it is encoded. */
  readonly added: ReadonlyMap<string, number>;
  /** Tokens that are cut out of a text only when its writer is trusted with them. */
  readonly control: ReadonlyMap<string, number>;
  /** Token of each byte, -1 where there is none. */
  readonly bytes: Int32Array;
  /** Length of the longest entry of `text`, in UTF-16 units. */
  readonly longest: number;
  /** Tokens that end a text or a turn. */
  readonly stop: ReadonlySet<number>;
}

/** Names under which models keep the tokens that end a text or a turn, whether or not the file's metadata lists them. */
const END_NAMES: ReadonlySet<string> = new Set([
  '</s>',
  '<|end_of_text|>',
  '<|endoftext|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<end_of_turn>',
  '<eos>',
  '<EOT>',
  '[EOS]',
  '[EOT]',
]);

/** Bounds the search for control and added tokens in a text. Real ones have less than 100 units. */
const LONGEST_SPECIAL = 512;

/**
 * Sorts a model's token list.
 * @throws BitnetError where lists differ in length, a special token is outside the list, or a name is absurdly long.
 */
export function* readVocabulary(data: TokenizerData): Steps<Vocabulary> {
  check(data);
  const { tokens, types } = data;
  const kinds = new Uint8Array(tokens.length);
  const text = new Map<string, number>();
  const added = new Map<string, number>();
  const control = new Map<string, number>();
  const bytes = new Int32Array(256).fill(-1);
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
      if (!text.has(token)) text.set(token, id);
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
  if (data.model === 'gpt2') for (let byte = 0; byte < 256; byte++) bytes[byte] = text.get(BYTE_CHARS[byte]!) ?? -1;
  if (data.eos !== null) stop.add(data.eos);
  if (data.eot !== null) stop.add(data.eot);
  return { tokens, kinds, text, added, control, bytes, longest, stop };
}

function kindOf(data: TokenizerData, id: number): number {
  const token = data.tokens[id]!;
  switch (data.types[id]) {
    case 2:
    case CONTROL:
      return CONTROL;
    case ADDED:
      return ADDED;
    case UNUSED:
      return UNUSED;
    case BYTE:
      return byteOf(token) >= 0 ? BYTE : TEXT;
    case undefined:
      return data.model === 'llama' && byteOf(token) >= 0 ? BYTE : TEXT;
    default:
      return TEXT;
  }
}

/** The byte that a token of the form `<0x0A>` stands for, or -1. */
export function byteOf(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
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
