import type { TokenizerData } from '../../../artifact/tokenizer/data.ts';
import type { Keys } from './keys.ts';

const KEY = 'tokenizer.ggml';

/** Pre-tokenizers for which llama.cpp puts the begin-of-sequence token first unless the file says otherwise. */
const PRE_WITH_BOS: ReadonlySet<string> = new Set(['llama3', 'llama-v3', 'llama-bpe', 'falcon3', 'falcon_e']);

/** Tokens that end a turn, for files without `eot_token_id`: Llama 3, ChatML, Phi, Gemma. */
const END_OF_TURN: readonly string[] = ['<|eot_id|>', '<|im_end|>', '<|end|>', '<end_of_turn>'];

const UNDEFINED = 0;
const NORMAL = 1;
const BYTE = 6;

/**
 * The tokenizer that the keys `tokenizer.ggml.*` describe, every id one of a token.
 * The tokens may be fewer than `vocab`, the rows of the embedding table, but not more.
 * What the file leaves out is as llama.cpp has it: a `llama` (SentencePiece) model starts with BOS 1, ends with EOS 2,
 * has the unknown token 0, and puts a space before the text; a `gpt2` model has neither, but starts with BOS where
 * its pre-tokenizer is that of Llama 3 or Falcon 3. Merges beside scores are Hugging Face's, which rank the same tokens.
 */
export function importTokenizer(keys: Keys, vocab: number): TokenizerData {
  const model = keys.text(`${KEY}.model`);
  if (model !== 'gpt2' && model !== 'llama') {
    throw keys.fault(
      `${KEY}.model`,
      `is "${model}", which is not supported`,
      'Supported are gpt2 (byte-level BPE) and llama (SentencePiece).',
    );
  }
  const sentencePiece = model === 'llama';
  const tokens = keys.texts(`${KEY}.tokens`);
  if (tokens.length === 0) throw keys.fault(`${KEY}.tokens`, 'is missing or empty');
  if (tokens.length > vocab) {
    throw keys.fault(`${KEY}.tokens`, `has ${tokens.length} tokens, more than the ${vocab} rows of token_embd.weight`);
  }
  const id = (name: string, otherwise: number | null): number | null => {
    const key = `${KEY}.${name}_token_id`;
    if (keys.has(key)) return keys.integer(key, { min: 0, max: tokens.length - 1 });
    return otherwise !== null && otherwise < tokens.length ? otherwise : null;
  };
  const pre = keys.text(`${KEY}.pre`, 'default');
  const bos = id('bos', sentencePiece ? 1 : null);
  return {
    model,
    pre,
    tokens,
    types: importTypes(keys, tokens.length),
    scores: sentencePiece ? importScores(keys, tokens.length) : [],
    merges: importMerges(keys),
    bos,
    eos: id('eos', sentencePiece ? 2 : null),
    eot: id('eot', endOfTurn(tokens)),
    unknown: id('unknown', sentencePiece ? 0 : null),
    padding: id('padding', null),
    addBos: keys.boolean(`${KEY}.add_bos_token`, bos !== null && (sentencePiece || PRE_WITH_BOS.has(pre))),
    addEos: keys.boolean(`${KEY}.add_eos_token`, false),
    addSpacePrefix: keys.boolean(`${KEY}.add_space_prefix`, sentencePiece),
    chatTemplate: keys.has('tokenizer.chat_template') ? keys.text('tokenizer.chat_template') : null,
  };
}

function importTypes(keys: Keys, count: number): readonly number[] {
  const key = `${KEY}.token_type`;
  const types = keys.integers(key);
  checkLength(keys, key, types.length, count);
  const bad = types.findIndex((type) => type < UNDEFINED || type > BYTE);
  if (bad >= 0) throw keys.fault(key, `gives token ${bad} the type ${types[bad]}, which there is not`);
  return types.includes(UNDEFINED) ? types.map((type) => (type === UNDEFINED ? NORMAL : type)) : types;
}

function importScores(keys: Keys, count: number): readonly number[] {
  const key = `${KEY}.scores`;
  const scores = keys.floats(key);
  if (scores.length === 0) throw keys.fault(key, 'is missing: a SentencePiece vocabulary needs scores');
  checkLength(keys, key, scores.length, count);
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) throw keys.fault(key, `gives token ${bad} the score ${scores[bad]}`);
  return scores;
}

function importMerges(keys: Keys): readonly string[] {
  const key = `${KEY}.merges`;
  const merges = keys.texts(key);
  // A pair is parted by its first space that is not its first character.
  const bad = merges.findIndex((merge) => {
    const space = merge.indexOf(' ', 1);
    return space < 0 || space === merge.length - 1;
  });
  if (bad >= 0) throw keys.fault(key, `has an entry ${bad} that is not two tokens with a space between`);
  return merges;
}

function checkLength(keys: Keys, key: string, length: number, tokens: number): void {
  if (length !== 0 && length !== tokens) throw keys.fault(key, `has ${length} entries for ${tokens} tokens`);
}

/** The token that ends a turn by its name, null if there is none. */
export function endOfTurn(tokens: readonly string[]): number | null {
  for (const name of END_OF_TURN) {
    const at = tokens.indexOf(name);
    if (at >= 0) return at;
  }
  return null;
}
