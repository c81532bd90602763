import type { TokenizerData } from '../../../artifact/tokenizer/data.ts';
import { BitnetError } from '../../../errors.ts';
import { isObject } from './fields.ts';
import { ProtobufReader } from './protobuf.ts';
import { specialIds, type TokenizerSettings } from './special-tokens.ts';
import { CONTROL, TokenList, USER_DEFINED } from './token-list.ts';

/** `TrainerSpec.ModelType`. */
const BPE = 2;
const MODEL_TYPES: readonly string[] = ['', 'unigram', 'BPE', 'word', 'char'];

/** What we need of sentencepiece_model.proto, with its defaults. */
interface Model {
  readonly pieces: { text: string; score: number; type: number }[];
  modelType: number;
  unknown: number;
  bos: number;
  eos: number;
  normaliser: string;
  charsMap: number;
  addDummyPrefix: boolean;
  removeExtraSpaces: boolean;
}

/**
 * Reads SentencePiece's tokenizer.model, a protobuf message: BPE with byte fallback that takes text as it is, as
 * Llama's and Gemma's. Piece types are GGUF's token types. Tokens of added_tokens.json and of
 * `added_tokens_decoder` follow.
 * Throws BitnetError where it is damaged, or of another kind.
 */
export function readSentencePiece(
  file: string,
  bytes: Uint8Array,
  settings: TokenizerSettings,
  vocab: number,
): TokenizerData {
  const model = parse(file, bytes);
  checkKind(file, model);
  const list = new TokenList(file, vocab);
  for (const [id, { text, type }] of model.pieces.entries()) list.add(text, id, type);
  const scores = model.pieces.map(({ score }) => score);
  const bad = scores.findIndex((score) => !Number.isFinite(score));
  if (bad >= 0) throw new BitnetError(`${file}: the token ${bad} has the score ${scores[bad]}`);
  addTokens(list, settings, scores.length, vocab);
  const { tokens, types } = list.list();
  while (scores.length < tokens.length) scores.push(0);
  const id = (value: number) => (value >= 0 && value < tokens.length ? value : null);
  const ids = specialIds(settings, tokens, { bos: id(model.bos), eos: id(model.eos), unknown: id(model.unknown) });
  return {
    model: 'llama',
    pre: 'default',
    tokens,
    types,
    scores,
    merges: [],
    ...ids,
    addBos: settings.tokenizer.boolean('add_bos_token', ids.bos !== null),
    addEos: settings.tokenizer.boolean('add_eos_token', false),
    addSpacePrefix: model.addDummyPrefix,
    chatTemplate: settings.chatTemplate,
  };
}

function checkKind(file: string, model: Model): void {
  if (model.modelType !== BPE) {
    const name = MODEL_TYPES[model.modelType] ?? model.modelType;
    throw new BitnetError(`${file} is a SentencePiece model of the kind ${name}, which is not supported`, {
      hint: 'Supported is BPE.',
    });
  }
  const changes = model.charsMap > 0 ? `changes characters (${model.normaliser})` : 'removes extra spaces';
  if (model.charsMap > 0 || model.removeExtraSpaces) {
    throw new BitnetError(`${file} ${changes} before it encodes a text, which is not supported`);
  }
}

/** Tokens beyond the pieces, by the files that Hugging Face's tokenizers keep them in. */
function addTokens(list: TokenList, { added, tokenizer }: TokenizerSettings, pieces: number, vocab: number): void {
  const decoder = tokenizer.object('added_tokens_decoder');
  for (const content of added.keys()) {
    const id = added.integer(content, { min: 0, max: 2 ** 31 });
    if (id >= pieces && id < vocab) list.add(content, id, USER_DEFINED);
  }
  for (const key of decoder?.keys() ?? []) {
    const entry = decoder!.raw(key);
    if (!isObject(entry) || typeof entry.content !== 'string') throw decoder!.fault(key, 'is not a token');
    const id = Number(key);
    if (id >= pieces && id < vocab) list.add(entry.content, id, entry.special === true ? CONTROL : USER_DEFINED);
  }
}

function parse(file: string, bytes: Uint8Array): Model {
  const model: Model = {
    pieces: [],
    modelType: 1,
    unknown: 0,
    bos: 1,
    eos: 2,
    normaliser: '',
    charsMap: 0,
    addDummyPrefix: true,
    removeExtraSpaces: true,
  };
  try {
    for (const field of new ProtobufReader(bytes).fields()) {
      if (field.number === 1) model.pieces.push(readPiece(field.message()));
      else if (field.number === 2) readTrainer(field.message(), model);
      else if (field.number === 3) readNormaliser(field.message(), model);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new BitnetError(`${file} is not a SentencePiece model: ${error.message}`, { cause: error });
  }
  return model;
}

function readPiece(message: ProtobufReader): Model['pieces'][number] {
  const piece = { text: '', score: 0, type: 1 };
  for (const field of message.fields()) {
    if (field.number === 1) piece.text = field.text();
    else if (field.number === 2) piece.score = field.float();
    else if (field.number === 3) piece.type = field.integer();
  }
  if (piece.type < 1 || piece.type > 6) throw new RangeError(`a piece has the type ${piece.type}`);
  return piece;
}

function readTrainer(message: ProtobufReader, model: Model): void {
  for (const field of message.fields()) {
    if (field.number === 3) model.modelType = field.integer();
    else if (field.number === 40) model.unknown = field.integer();
    else if (field.number === 41) model.bos = field.integer();
    else if (field.number === 42) model.eos = field.integer();
  }
}

function readNormaliser(message: ProtobufReader, model: Model): void {
  for (const field of message.fields()) {
    if (field.number === 1) model.normaliser = field.text();
    else if (field.number === 2) model.charsMap = field.message().length;
    else if (field.number === 3) model.addDummyPrefix = field.integer() !== 0;
    else if (field.number === 4) model.removeExtraSpaces = field.integer() !== 0;
  }
}
