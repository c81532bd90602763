import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { BitnetError } from '../../errors.ts';
import { preTokenizerSteps, takesWholeWords } from '../import/huggingface/pre-tokenizers.ts';
import { TOKENIZER_CONFIG } from '../import/huggingface/special-tokens.ts';
import { BYTE, CONTROL, NORMAL, padName, UNKNOWN, UNUSED, USER_DEFINED } from '../import/huggingface/token-list.ts';
import { TOKENIZER_JSON, TOKENIZER_MODEL } from '../import/huggingface/tokenizer.ts';
import { sentencePieceModel } from './sentencepiece.ts';

/**
 * A tokenizer as Hugging Face's files, by name: tokenizer.json where there are merges, SentencePiece's tokenizer.model
 * where there are scores, and tokenizer_config.json. Every id stays what it is.
 * Throws BitnetError for a tokenizer that these files cannot describe.
 */
export function tokenizerFiles(data: TokenizerData): [name: string, contents: string | Uint8Array][] {
  const types = typesOf(data);
  if (data.model === 'gpt2' && data.merges.length === 0) {
    throw new BitnetError('the tokenizer is byte-level BPE without merges, which tokenizer.json cannot describe', {
      hint: 'such a model cannot be run: convert it again from its source, with its tokenizer',
    });
  }
  return [
    data.merges.length > 0
      ? [TOKENIZER_JSON, toJson(tokenizerJson(data, types))]
      : [TOKENIZER_MODEL, sentencePieceModel(data, types)],
    [TOKENIZER_CONFIG, toJson(tokenizerConfig(data))],
  ];
}

/** The type of each token. A vocabulary without types has the special tokens, and SentencePiece's bytes, by name. */
export function typesOf(data: TokenizerData): readonly number[] {
  if (data.types.length > 0) return data.types;
  const types: number[] = data.tokens.map((token) =>
    data.model === 'llama' && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : NORMAL,
  );
  for (const id of [data.bos, data.eos, data.eot]) if (id !== null) types[id] = CONTROL;
  if (data.unknown !== null) types[data.unknown] = UNKNOWN;
  return types;
}

function tokenizerJson(data: TokenizerData, types: readonly number[]): object {
  const vocab = new Map<string, number>();
  for (const [id, token] of data.tokens.entries()) {
    if (types[id] === UNUSED && token === padName(id)) continue;
    if (vocab.has(token)) {
      throw new BitnetError(`the tokens ${vocab.get(token)} and ${id} are both ${JSON.stringify(token.slice(0, 80))}`, {
        hint: 'tokenizer.json cannot tell them apart: convert to GGUF instead',
      });
    }
    vocab.set(token, id);
  }
  const added = [...vocab].filter(([, id]) => [UNKNOWN, CONTROL, USER_DEFINED].includes(types[id]!));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added.map(([content, id]) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: types[id] !== USER_DEFINED,
    })),
    ...(data.model === 'gpt2' ? byteLevelSteps(data) : sentencePieceSteps(data)),
    post_processor: postProcessor(data),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: data.unknown === null ? null : data.tokens[data.unknown],
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: data.model === 'llama',
      byte_fallback: data.model === 'llama',
      ignore_merges: data.model === 'gpt2' && takesWholeWords(data.pre),
      vocab: Object.fromEntries(vocab),
      // As texts, which older readers know, too.
      merges: data.merges,
    },
  };
}

function byteLevelSteps(data: TokenizerData): object {
  const preTokenizer = preTokenizerSteps(data.pre);
  if (preTokenizer === undefined) {
    throw new BitnetError(`tokenizer.json cannot describe the pre-tokenizer "${data.pre}"`);
  }
  return {
    normalizer: null,
    pre_tokenizer: preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
  };
}

function sentencePieceSteps({ addSpacePrefix }: TokenizerData): object {
  const mark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const unmark = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  const decoders = [unmark, { type: 'ByteFallback' }, { type: 'Fuse' }];
  if (!addSpacePrefix) return { normalizer: mark, pre_tokenizer: null, decoder: { type: 'Sequence', decoders } };
  return {
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, mark] },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: [...decoders, { type: 'Strip', content: ' ', start: 1, stop: 0 }] },
  };
}

/** `[BOS] A [EOS]`, as the model was trained. */
function postProcessor({ tokens, bos, eos, addBos, addEos }: TokenizerData): object | null {
  const before = addBos && bos !== null ? [bos] : [];
  const after = addEos && eos !== null ? [eos] : [];
  if (before.length + after.length === 0) return null;
  const special = (type: number) => (id: number) => ({ SpecialToken: { id: tokens[id], type_id: type } });
  const text = (id: string, type: number) => [
    ...before.map(special(type)),
    { Sequence: { id, type_id: type } },
    ...after.map(special(type)),
  ];
  return {
    type: 'TemplateProcessing',
    single: text('A', 0),
    pair: [...text('A', 0), ...text('B', 1)],
    special_tokens: Object.fromEntries(
      [...before, ...after].map((id) => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  };
}

function tokenizerConfig(data: TokenizerData): object {
  const text = (id: number | null) => (id === null ? undefined : data.tokens[id]);
  return {
    tokenizer_class: data.merges.length > 0 ? 'PreTrainedTokenizerFast' : 'LlamaTokenizer',
    bos_token: text(data.bos),
    eos_token: text(data.eos),
    unk_token: text(data.unknown),
    pad_token: text(data.padding),
    add_bos_token: data.addBos,
    add_eos_token: data.addEos,
    clean_up_tokenization_spaces: false,
    chat_template: data.chatTemplate ?? undefined,
  };
}

function toJson(value: object): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}
