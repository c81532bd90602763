import { join } from 'node:path';
import type { TokenizerData } from '../../../artifact/tokenizer/data.ts';
import { BitnetError } from '../../../errors.ts';
import { type Fields, MAX_TOKENIZER, readJson, readSmall } from './fields.ts';
import { readSentencePiece } from './sentencepiece.ts';
import { exists } from './shards.ts';
import { readSettings } from './special-tokens.ts';
import { prefixesSome, readTokenizerJson } from './tokenizer-json.ts';

export const TOKENIZER_JSON = 'tokenizer.json';
export const TOKENIZER_MODEL = 'tokenizer.model';

/**
 * The tokenizer of a model's folder: tokenizer.json, or else SentencePiece's tokenizer.model, and the settings beside
 * them. A tokenizer.json that puts a space before some texts only is passed over for the tokenizer.model that it was made
 * of, which puts it before all, as the engines do that read GGUF files. `config` is config.json, `vocab` the rows of the
 * embedding table, which the tokens may not outnumber.
 * Throws BitnetError where there is none, or it is damaged or of a kind that we lack.
 */
export async function importTokenizer(folder: string, config: Fields, vocab: number): Promise<TokenizerData> {
  const settings = await readSettings(folder, config);
  const json = join(folder, TOKENIZER_JSON);
  const model = join(folder, TOKENIZER_MODEL);
  const isSentencePiece = await exists(model);
  if (await exists(json)) {
    const contents = await readJson(json, MAX_TOKENIZER);
    if (!isSentencePiece || !prefixesSome(contents)) return readTokenizerJson(json, contents, settings, vocab);
  }
  if (isSentencePiece) return readSentencePiece(model, await readSmall(model, MAX_TOKENIZER), settings, vocab);
  throw new BitnetError(`${folder} holds neither ${TOKENIZER_JSON} nor ${TOKENIZER_MODEL}`, {
    hint: 'Download the tokenizer as well: the files lie beside the model.',
  });
}
