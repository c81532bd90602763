import type { TokenizerData } from '../../../artifact/tokenizer/data.ts';
import { BitnetError } from '../../../errors.ts';
import { Fields, isObject, type Json, show } from './fields.ts';
import { flatten, preTokenizerName } from './pre-tokenizers.ts';
import { specialIds, type TokenizerSettings } from './special-tokens.ts';
import { BYTE, CONTROL, NORMAL, TokenList, UNKNOWN, USER_DEFINED } from './token-list.ts';

/** What stands for a space in a SentencePiece vocabulary. */
const SPACE_MARK = '▁';

/** A token that is cut out of a text before the rest is encoded. */
interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * Reads a tokenizer.json: byte-level BPE (GPT-2, Llama 3, Qwen), or BPE over SentencePiece's vocabulary with byte
 * fallback (Llama 2, Gemma). Both merge by rank.
 * Throws BitnetError where it is damaged, or does what neither of them does.
 */
export function readTokenizerJson(file: string, json: Json, settings: TokenizerSettings, vocab: number): TokenizerData {
  const root = new Fields(file, json);
  const model = root.object('model');
  if (model === undefined) throw root.fault('model', 'is missing');
  checkModel(model);
  const bytePieces = model.boolean('byte_fallback', false);
  const { pre, addSpacePrefix } = bytePieces ? sentencePieceForm(root) : byteLevelForm(root);

  const list = new TokenList(file, vocab);
  const words = model.object('vocab');
  if (words === undefined) throw model.fault('vocab', 'is missing');
  for (const token of words.keys()) {
    list.add(token, words.raw(token), bytePieces && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : NORMAL);
  }
  const added = readAdded(root, vocab);
  for (const { content, id, special } of added) {
    // In a text spaces are no marks yet when added tokens are cut out: such a token comes about by merging alone.
    const merged = bytePieces && content.includes(SPACE_MARK) && list.at(id) === content;
    list.add(content, id, special ? CONTROL : merged ? NORMAL : USER_DEFINED);
  }
  const { tokens, types } = list.list();
  const merges = readMerges(model);
  const template = readTemplate(root, tokens, settings.tokenizer);
  const unknownText = model.text('unk_token', '');
  const unknown = unknownText === '' ? undefined : tokens.indexOf(unknownText);
  const ids = specialIds(settings, tokens, {
    ...(template.bos !== null && { bos: template.bos }),
    ...(template.eos !== null && { eos: template.eos }),
    ...(unknown !== undefined && unknown >= 0 && { unknown }),
  });
  if (bytePieces && ids.unknown !== null) types[ids.unknown] = UNKNOWN;
  checkEnds(file, template, ids);
  return {
    model: bytePieces ? 'llama' : 'gpt2',
    pre,
    tokens,
    types,
    scores: bytePieces ? scoresOf(tokens, merges) : [],
    merges,
    ...ids,
    addBos: template.addBos,
    addEos: template.addEos,
    addSpacePrefix,
    chatTemplate: settings.chatTemplate,
  };
}

function checkModel(model: Fields): void {
  // Files from before the key `type` have merges if they are BPE.
  const type = model.text('type', model.has('merges') ? 'BPE' : '');
  if (type !== 'BPE') throw model.fault('type', `is "${type}", which is not supported`, 'Supported is BPE.');
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (model.text(key, '') !== '') throw model.fault(key, `is ${show(model.raw(key))}, which is not supported`);
  }
  if ((model.raw('dropout') ?? 0) !== 0) throw model.fault('dropout', 'is not 0: text would be cut at random');
}

/** Qwen composes text to NFC first, which is left out: as in llama.cpp, composed text is what is written anyway. */
function byteLevelForm(root: Fields): { pre: string; addSpacePrefix: false } {
  const normalizer = flatten(root.raw('normalizer')).find(({ type }) => type !== 'NFC');
  if (normalizer) throw root.fault('normalizer', `is ${show(normalizer)}, which is not supported in byte-level BPE`);
  const pre = preTokenizerName(root.raw('pre_tokenizer'));
  if (pre !== undefined) return { pre, addSpacePrefix: false };
  throw root.fault(
    'pre_tokenizer',
    `is none that we know: ${JSON.stringify(root.raw('pre_tokenizer') ?? null).slice(0, 400)}`,
    'Supported are those of GPT-2, Llama 3 and Qwen 2. A GGUF file of the same model may name its pre-tokenizer.',
  );
}

/** Spaces become marks, with one before the text (Llama 2) or not (Gemma). */
function sentencePieceForm(root: Fields): { pre: string; addSpacePrefix: boolean } {
  const normalizers = flatten(root.raw('normalizer'));
  const prepends = normalizers.filter(({ type, prepend }) => type === 'Prepend' && prepend === SPACE_MARK);
  const replaces = normalizers.filter(
    ({ type, pattern, content }) => type === 'Replace' && stringOf(pattern) === ' ' && content === SPACE_MARK,
  );
  if (prepends.length > 1 || replaces.length > 1 || prepends.length + replaces.length < normalizers.length) {
    throw root.fault('normalizer', `is ${show(root.raw('normalizer'))}, which is not supported`);
  }
  for (const step of flatten(root.raw('pre_tokenizer'))) {
    const noSpacesLeft = step.type === 'Split' && stringOf(step.pattern) === ' ' && replaces.length === 1;
    const marksOnly = step.type === 'Metaspace' && step.prepend_scheme === 'never' && step.split === false;
    if (noSpacesLeft || (marksOnly && step.replacement === SPACE_MARK)) continue;
    throw root.fault(
      'pre_tokenizer',
      `is ${show(step)}, which is not supported with byte_fallback`,
      'Put the tokenizer.model of the same model beside it: that is read then.',
    );
  }
  const marks = replaces.length === 1 || flatten(root.raw('pre_tokenizer')).some(({ type }) => type === 'Metaspace');
  if (!marks) throw root.fault('normalizer', 'does not replace spaces, which is not supported with byte_fallback');
  return { pre: 'default', addSpacePrefix: prepends.length === 1 };
}

/** Whether spaces become marks with one more before the text, but not before every text: what we do not compute. */
export function prefixesSome({ pre_tokenizer: steps }: Json): boolean {
  return flatten(steps).some(({ type, prepend_scheme: scheme }) => type === 'Metaspace' && scheme !== 'never');
}

function stringOf(pattern: unknown): unknown {
  return isObject(pattern) ? pattern.String : undefined;
}

/** Tokens past the embedding table, as Gemma's for images, cannot be used and are left out. */
function readAdded(root: Fields, vocab: number): AddedToken[] {
  return root.list('added_tokens').flatMap((entry, index) => {
    const wrong = (problem: string) => root.fault('added_tokens', `has an entry ${index} that ${problem}`);
    if (!isObject(entry) || typeof entry.content !== 'string' || !Number.isInteger(entry.id)) {
      throw wrong('is not a token with an id');
    }
    const { content, special } = entry;
    for (const key of ['lstrip', 'rstrip', 'single_word']) {
      if (entry[key] === true) throw wrong(`sets ${key}, which is not supported: ${show(content)}`);
    }
    const id = entry.id as number;
    return id >= vocab ? [] : [{ id, content, special: special === true }];
  });
}

/** Pairs as `left right`, whether the file has them as texts or as lists. */
function readMerges(model: Fields): string[] {
  const merges = model.list('merges');
  if (merges.length === 0) throw model.fault('merges', 'is missing or empty');
  return merges.map((merge, index) => {
    const text = Array.isArray(merge) && merge.length === 2 ? `${merge[0]} ${merge[1]}` : merge;
    const gap = typeof text === 'string' ? text.indexOf(' ', 1) : -1;
    const whole = gap > 0 && gap < (text as string).length - 1;
    if (whole && (!Array.isArray(merge) || (text as string).slice(0, gap) === merge[0])) return text as string;
    throw model.fault('merges', `has an entry ${index} that is not two tokens: ${show(merge)}`);
  });
}

/**
 * What SentencePiece needs in place of ranks: a token scores higher the sooner it is merged. Tokens that no merge
 * makes come last, but single characters, which need no merge.
 */
function scoresOf(tokens: readonly string[], merges: readonly string[]): number[] {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const gap = merge.indexOf(' ', 1);
    const result = merge.slice(0, gap) + merge.slice(gap + 1);
    if (!ranks.has(result)) ranks.set(result, rank);
  }
  return tokens.map((token) => -(ranks.get(token) ?? ([...token.slice(0, 3)].length === 1 ? 0 : merges.length)) || 0);
}

interface Ends {
  readonly bos: number | null;
  readonly eos: number | null;
  readonly addBos: boolean;
  readonly addEos: boolean;
}

/**
 * Which tokens the post-processor puts around a text. Without one, and for the classes of Llama and Gemma, whose
 * loaders rebuild it, the settings `add_bos_token` and `add_eos_token` count.
 */
function readTemplate(root: Fields, tokens: readonly string[], settings: Fields): Ends {
  const processors = flatten(root.raw('post_processor')).filter(({ type }) => type !== 'ByteLevel');
  const [template] = processors;
  const own: Ends = template
    ? readSingle(root, template, tokens)
    : { bos: null, eos: null, addBos: false, addEos: false };
  if (processors.length > 1) throw root.fault('post_processor', 'has more than one step that adds tokens');
  if (template !== undefined && !/^(?:Code)?(?:Llama|Gemma)Tokenizer/.test(settings.text('tokenizer_class', ''))) {
    return own;
  }
  return {
    ...own,
    addBos: settings.boolean('add_bos_token', own.addBos),
    addEos: settings.boolean('add_eos_token', own.addEos),
  };
}

/** The template for a single text: `[BOS] A [EOS]`, where either may be missing. */
function readSingle(root: Fields, processor: Json, tokens: readonly string[]): Ends {
  const wrong = () => root.fault('post_processor', `is ${show(processor)}, which is not supported`);
  if (processor.type !== 'TemplateProcessing' || !Array.isArray(processor.single)) throw wrong();
  const texts = processor.single.map((item): string | null => {
    if (isObject(item) && isObject(item.Sequence)) return null;
    if (isObject(item) && isObject(item.SpecialToken) && typeof item.SpecialToken.id === 'string') {
      return item.SpecialToken.id;
    }
    throw wrong();
  });
  const at = texts.indexOf(null);
  if (at < 0 || at > 1 || texts.length > at + 2 || texts.lastIndexOf(null) !== at) throw wrong();
  const idOf = (text: string | null | undefined): number | null => {
    if (text === null || text === undefined) return null;
    const id = tokens.indexOf(text);
    if (id < 0) throw root.fault('post_processor', `adds ${show(text)}, which is no token`);
    return id;
  };
  const bos = at === 1 ? idOf(texts[0]) : null;
  const eos = idOf(texts[at + 1]);
  return { bos, eos, addBos: bos !== null, addEos: eos !== null };
}

function checkEnds(file: string, ends: Ends, ids: { readonly bos: number | null; readonly eos: number | null }): void {
  for (const [wanted, name] of [
    [ends.addBos, 'bos'],
    [ends.addEos, 'eos'],
  ] as const) {
    if (wanted && ids[name] === null) {
      throw new BitnetError(`${file}: every text is to get a ${name} token, but tokenizer_config.json names none`);
    }
  }
}
