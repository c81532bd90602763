import { join } from 'node:path';
import { endOfTurn } from '../gguf/tokenizer.ts';
import { Fields, isObject, MAX_SETTINGS, readJson, readSmall } from './fields.ts';
import { exists } from './shards.ts';

export const TOKENIZER_CONFIG = 'tokenizer_config.json';
export const GENERATION_CONFIG = 'generation_config.json';
export const CHAT_TEMPLATE = 'chat_template.jinja';
export const ADDED_TOKENS = 'added_tokens.json';
const SPECIAL_TOKENS = 'special_tokens_map.json';

/** The settings beside a tokenizer, an empty one for each file that is not there. */
export interface TokenizerSettings {
  readonly tokenizer: Fields;
  readonly specials: Fields;
  readonly generation: Fields;
  readonly model: Fields;
  /** Tokens that are added by name: text and id. */
  readonly added: Fields;
  readonly chatTemplate: string | null;
}

/** Reads what lies beside a tokenizer. `model` is config.json. */
export async function readSettings(folder: string, model: Fields): Promise<TokenizerSettings> {
  const read = async (name: string) => {
    const file = join(folder, name);
    return new Fields(file, (await exists(file)) ? await readJson(file, MAX_SETTINGS) : {});
  };
  const tokenizer = await read(TOKENIZER_CONFIG);
  return {
    tokenizer,
    specials: await read(SPECIAL_TOKENS),
    generation: await read(GENERATION_CONFIG),
    model,
    added: await read(ADDED_TOKENS),
    chatTemplate: await readChatTemplate(folder, tokenizer),
  };
}

/** A file of its own, or a setting: a text, or a list of named ones. */
async function readChatTemplate(folder: string, tokenizer: Fields): Promise<string | null> {
  const file = join(folder, CHAT_TEMPLATE);
  if (await exists(file)) return (await readSmall(file, MAX_SETTINGS)).toString('utf8');
  const value = tokenizer.raw('chat_template');
  if (!Array.isArray(value)) return tokenizer.has('chat_template') ? tokenizer.text('chat_template') : null;
  const named = value.filter(isObject);
  const template = (named.find(({ name }) => name === 'default') ?? named[0])?.template;
  return typeof template === 'string' ? template : null;
}

/** The ids of the tokens with a meaning. */
export interface SpecialIds {
  readonly bos: number | null;
  readonly eos: number | null;
  readonly eot: number | null;
  readonly unknown: number | null;
  readonly padding: number | null;
}

/**
 * The special tokens that the settings name. The tokenizer's own settings come first, by text, then the model's, by
 * id. `fixed` are those that the tokenizer's file determines.
 * Throws BitnetError for an id that is no token's.
 */
export function specialIds(
  settings: TokenizerSettings,
  tokens: readonly string[],
  fixed: { readonly [name in 'bos' | 'eos' | 'unknown']?: number | null },
): SpecialIds {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!ids.has(token)) ids.set(token, id);
  const named = (name: string): number | null => {
    for (const fields of [settings.tokenizer, settings.specials]) {
      const value = fields.raw(`${name}_token`);
      const text = isObject(value) ? value.content : value;
      const id = typeof text === 'string' ? ids.get(text) : undefined;
      if (id !== undefined) return id;
    }
    return numbered(settings.model, `${name}_token_id`)[0] ?? null;
  };
  const numbered = (fields: Fields, key: string): number[] => {
    const value = fields.raw(key);
    const list = Array.isArray(value) ? value : value === undefined ? [] : [value];
    return list.filter((id) => {
      if (Number.isInteger(id) && id >= -1 && id <= 2 ** 31) return id >= 0 && id < tokens.length;
      throw fields.fault(key, 'is not the id of a token');
    });
  };
  const eos = fixed.eos ?? named('eos');
  const ends = numbered(settings.generation, 'eos_token_id').filter((id) => id !== eos);
  const turn = endOfTurn(tokens);
  return {
    bos: fixed.bos ?? named('bos'),
    eos,
    eot: turn !== null && (ends.length === 0 || ends.includes(turn) || turn === eos) ? turn : (ends[0] ?? turn),
    unknown: fixed.unknown ?? named('unk'),
    padding: named('pad'),
  };
}
