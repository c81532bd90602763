import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as Oracle } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { tokenizerFiles } from '../../compiler/export/huggingface-tokenizer.ts';
import { Fields } from '../../compiler/import/huggingface/fields.ts';
import { importTokenizer } from '../../compiler/import/huggingface/tokenizer.ts';
import { importModel } from '../../compiler/import/index.ts';
import { packageRoot } from '../../package-root.ts';
import { writeFiles } from '../support/hf-folder.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { createTokenizer } from '../support/tokenizer.ts';
import { SAMPLES, trainBpe } from './tokenizer-samples.ts';

const root = temporaryFolder('tokenizer');
let folders = 0;

/** Reads a tokenizer's files as a model's folder has them. */
async function imported(
  files: Record<string, object | Buffer>,
  config: object = {},
  vocab = 65536,
): Promise<TokenizerData> {
  const folder = writeFiles(join(root, `tokenizer-${folders++}`), files);
  return importTokenizer(folder, new Fields(join(folder, 'config.json'), config as Record<string, unknown>), vocab);
}

/** Everything there is to know of how the oracle's ids are ours: text by text. */
async function assertAgree(data: TokenizerData, oracle: Oracle, texts: readonly string[]): Promise<void> {
  const tokenizer = await createTokenizer(data);
  for (const text of texts) {
    if (text === '') continue;
    const ids = tokenizer.encode(text, { special: true });
    assert.equal(ids, oracle.encode(text).ids, JSON.stringify(text));
  }
}

/** Well-formed texts: a lone surrogate is no text to the oracle. */
const texts = SAMPLES.filter((text) => !/\p{Cs}/u.test(text));

const models = join(packageRoot(), 'models');
const story = JSON.parse(readFileSync(join(models, 'storyteller-25m.tokenizer.json'), 'utf8'));
const storyConfig = { bos_token: '<|begin_of_text|>', eos_token: '<|end_of_text|>', add_bos_token: true };

test("the default model's tokenizer.json is the tokenizer of its GGUF file", async () => {
  const data = await imported({ 'tokenizer.json': story, 'tokenizer_config.json': storyConfig });
  assert.equal(data, (await importModel(join(models, 'storyteller-25m-i2_s.gguf'))).tokenizer);
});

test('the default model agrees with Hugging Face', async () => {
  const data = await imported({
    'tokenizer.json': story,
    'tokenizer_config.json': { ...storyConfig, add_bos_token: false },
  });
  await assertAgree(data, new Oracle(story, {}), texts);
});

const split = (Regex: string) => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
const bytes = (use_regex: boolean) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex });
const llama = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** Pre-tokenizers as the published files have them. */
const PUBLISHED: Record<string, object> = {
  'llama-bpe': { type: 'Sequence', pretokenizers: [split(llama('{1,3}')), bytes(false)] },
  qwen2: { type: 'Sequence', pretokenizers: [split(llama('')), bytes(false)] },
  'gpt-2': bytes(true),
};

/** tokenizer.json, as far as the tests change it. */
interface TokenizerJson {
  readonly added_tokens: { id: number | undefined; readonly content: string }[];
  post_processor: object;
  readonly model: { readonly vocab: Readonly<Record<string, number>>; readonly merges: readonly unknown[] };
  readonly [key: string]: unknown;
}

/** A byte-level tokenizer with added tokens and a template, as a file. */
function byteLevelJson(pre: string): { json: TokenizerJson; count: number } {
  const { tokens, merges } = trainBpe(pre, 150);
  const count = tokens.length;
  const added = [
    { id: count, content: '<|begin|>', special: true },
    { id: count + 1, content: '<|eot_id|>', special: true },
    { id: count + 2, content: '<think>', special: false },
    { id: count + 3, content: '<think>>', special: false },
  ].map((token) => ({ single_word: false, lstrip: false, rstrip: false, normalized: false, ...token }));
  const single = [{ SpecialToken: { id: '<|begin|>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }];
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: PUBLISHED[pre],
    post_processor: {
      type: 'Sequence',
      processors: [
        { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
        {
          type: 'TemplateProcessing',
          single,
          pair: single,
          special_tokens: { '<|begin|>': { id: '<|begin|>', ids: [count], tokens: ['<|begin|>'] } },
        },
      ],
    },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      ignore_merges: pre === 'llama-bpe',
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  };
  return { json, count };
}

const MARKED = ['<|begin|>Hello<|eot_id|>', 'a<think>b<think>>c', '<think> x </think>', 'x <|eot_id|> <|eot_id|>\n'];

for (const pre of Object.keys(PUBLISHED)) {
  test(`byte-level BPE of ${pre}: settings, and the ids that Hugging Face gives`, async () => {
    const { json, count } = byteLevelJson(pre);
    const config = { eos_token: { content: '<|eot_id|>', __type: 'AddedToken' } };
    const data = await imported({ 'tokenizer.json': json, 'tokenizer_config.json': config });
    assert.is(data.pre, pre);
    assert.equal(data.types.slice(count), [3, 3, 4, 4]);
    const { bos, eos, eot, addBos, addEos } = data;
    assert.equal(
      { bos, eos, eot, addBos, addEos },
      { bos: count, eos: count + 1, eot: count + 1, addBos: true, addEos: false },
    );
    const withoutBos = texts.concat(MARKED).filter((text) => !text.startsWith('<|begin|>'));
    await assertAgree(data, new Oracle(json, {}), withoutBos);
  });

  test(`byte-level BPE of ${pre}, written and read again`, async () => {
    const data = await imported({ 'tokenizer.json': byteLevelJson(pre).json });
    const files = Object.fromEntries(tokenizerFiles(data).map(([name, text]) => [name, Buffer.from(text)]));
    assert.equal(await imported(files), data);
    const json = JSON.parse(files['tokenizer.json']!.toString());
    const withoutBos = texts.concat(MARKED).filter((text) => !text.startsWith('<|begin|>'));
    await assertAgree(data, new Oracle(json, {}), withoutBos);
  });
}

test('byte-level BPE of GGUF files without types or a name of their own, written for Hugging Face', async () => {
  const { tokens, ...rest } = trainBpe('default', 150);
  const data = { ...rest, tokens: [...tokens, '<s>', '</s>'], types: [], bos: tokens.length, eos: tokens.length + 1 };
  const files = Object.fromEntries(
    tokenizerFiles({ ...data, addBos: true }).map(([name, text]) => [name, Buffer.from(text)]),
  );
  const back = await imported(files);
  assert.equal(back, { ...data, addBos: true, types: [...tokens.map(() => 1), 3, 3] });
  await assertAgree(back, new Oracle(JSON.parse(files['tokenizer.json']!.toString()), {}), texts);
});

test('two tokens of one text have no place in tokenizer.json', async () => {
  const data = trainBpe('gpt-2', 3);
  const { message } = await refusal(() => tokenizerFiles({ ...data, tokens: [...data.tokens, 'a'], types: [] }));
  assert.match(message, /tokens \d+ and 259 are both "a"/);
});

/** SentencePiece's vocabulary: pieces that merges make, in order of rank, after the bytes and single characters. */
function sentencePieceJson(prefix: boolean): { json: TokenizerJson; count: number } {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const words = [
    '▁the',
    '▁they',
    '▁a',
    'll',
    'er',
    'aa',
    'aaa',
    '▁▁',
    '▁▁▁▁',
    '123',
    'ing',
    '▁Привет',
    '世界',
    'ё́',
    '!!',
    'won',
    "'s",
  ];
  const characters = [...new Set([...words.join(''), ...'Hello, wrdPбвт.123?-_mix✓'])];
  const vocab = new Map<string, number>();
  for (const token of ['<pad>', '</s>', '<s>', '<unk>', ...bytes, ...characters]) vocab.set(token, vocab.size);
  const merges: [string, string][] = [];
  const merge = (left: string, right: string) => {
    if (merges.some(([a, b]) => a === left && b === right)) return;
    merges.push([left, right]);
    if (!vocab.has(left + right)) vocab.set(left + right, vocab.size);
  };
  for (const word of words) {
    const symbols = [...word];
    // Alternately from the front and from the back: equal results by different ways.
    while (symbols.length > 1) {
      const at = symbols.length % 2 === 0 ? 0 : symbols.length - 2;
      merge(symbols[at]!, symbols[at + 1]!);
      symbols.splice(at, 2, symbols[at]! + symbols[at + 1]!);
    }
  }
  merge('aa', 'a');
  merge('a', 'aa');
  const count = vocab.size;
  const mark = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
  const unmark = { type: 'Replace', pattern: { String: '▁' }, content: ' ' };
  const decoders = [unmark, { type: 'ByteFallback' }, { type: 'Fuse' }];
  const json = {
    version: '1.0',
    added_tokens: [
      ...['<pad>', '</s>', '<s>', '<unk>'].map((content) => ({
        id: vocab.get(content),
        content,
        special: true,
        normalized: false,
      })),
      ...(prefix ? [] : [{ id: vocab.get('▁▁'), content: '▁▁', special: false, normalized: false }]),
      { id: count, content: '<turn>', special: false, normalized: false },
    ],
    normalizer: prefix ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, mark] } : mark,
    pre_tokenizer: prefix
      ? null
      : { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<s>': { id: '<s>', ids: [2], tokens: ['<s>'] } },
    },
    decoder: {
      type: 'Sequence',
      decoders: prefix ? [...decoders, { type: 'Strip', content: ' ', start: 1, stop: 0 }] : decoders,
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  };
  return { json, count };
}

const SPACED = [
  'the  they',
  '   a',
  'aaaaaaa aaa',
  "they'll",
  'x<turn>y <turn> z',
  '▁▁ a',
  'ё́ё',
  ' the',
  'the ',
  '\n\n',
  '5世界5',
];

for (const [name, prefix] of [
  ['Llama 2', true],
  ['Gemma', false],
] as const) {
  test(`BPE over SentencePiece's vocabulary, as ${name}: settings, and the ids that Hugging Face gives`, async () => {
    const { json, count } = sentencePieceJson(prefix);
    const config = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' };
    const data = await imported({ 'tokenizer.json': json, 'tokenizer_config.json': config });
    const { model, bos, eos, unknown, padding, addBos, addSpacePrefix } = data;
    const expected = { model: 'llama', bos: 2, eos: 1, unknown: 3, padding: 0, addBos: true, addSpacePrefix: prefix };
    assert.equal({ model, bos, eos, unknown, padding, addBos, addSpacePrefix }, expected);
    assert.equal(data.types.slice(0, 5), [3, 3, 3, 2, 6]);
    assert.is(data.types[count], 4);
    assert.is(data.types[data.tokens.indexOf('▁▁')], 1, 'made by merging, not cut out');
    const oracle = new Oracle(json, {});
    await assertAgree(
      data,
      oracle,
      [...texts, ...SPACED].filter((text) => !/<s>|<\/s>|▁/.test(text)),
    );
    const parts = fc.constantFrom(
      'a',
      'aa',
      ' ',
      '  ',
      'the',
      'they',
      'll',
      'z',
      'é',
      '世界',
      '\n',
      '1',
      '23',
      '!',
      '<turn>',
    );
    const mixed = fc.array(parts, { minLength: 1, maxLength: 20 }).map((chosen) => chosen.join(''));
    const tokenizer = await createTokenizer(data);
    fc.assert(
      fc.property(mixed, (text) => {
        const ids = tokenizer.encode(text);
        assert.equal(ids, oracle.encode(text).ids, JSON.stringify(text));
        assert.is(tokenizer.decode(ids).replaceAll(' ', ''), text.replaceAll(' ', ''));
      }),
      { numRuns: 500, seed: 1 },
    );
  });

  test(`BPE over SentencePiece's vocabulary, as ${name}, written and read again`, async () => {
    const { json } = sentencePieceJson(prefix);
    const data = await imported({ 'tokenizer.json': json });
    const files = Object.fromEntries(tokenizerFiles(data).map(([file, text]) => [file, Buffer.from(text)]));
    assert.equal(await imported(files), data);
  });
}

/** Protobuf, by its definition: a field of bytes, a varint, a float. */
const field = (number: number, contents: Buffer) =>
  Buffer.concat([varint(number * 8 + 2), varint(contents.length), contents]);
const integer = (number: number, value: number) => Buffer.concat([varint(number * 8), varint(value)]);
function varint(value: number): Buffer {
  return value < 128
    ? Buffer.from([value])
    : Buffer.concat([Buffer.from([(value % 128) + 128]), varint(Math.floor(value / 128))]);
}
function single(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varint(number * 8 + 5), bytes]);
}

/** A tokenizer.model of SentencePiece: pieces with score and type, where the type of a normal one is left out. */
function sentencePieceFile(pieces: readonly (readonly [string, number, number])[], prefix: boolean): Buffer {
  return Buffer.concat([
    ...pieces.map(([text, score, type]) =>
      field(
        1,
        Buffer.concat([field(1, Buffer.from(text)), single(2, score), type === 1 ? Buffer.alloc(0) : integer(3, type)]),
      ),
    ),
    field(
      2,
      Buffer.concat([
        integer(3, 2),
        integer(4, pieces.length),
        integer(35, 1),
        integer(40, 0),
        integer(41, 1),
        integer(42, 2),
      ]),
    ),
    field(3, Buffer.concat([field(1, Buffer.from('identity')), integer(3, prefix ? 1 : 0), integer(4, 0)])),
  ]);
}

const PIECES: readonly (readonly [string, number, number])[] = [
  ['<unk>', 0, 2],
  ['<s>', 0, 3],
  ['</s>', 0, 3],
  ...Array.from(
    { length: 256 },
    (_, byte) => [`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`, 0, 6] as const,
  ),
  ['ab', -1, 1],
  ['▁a', -2, 1],
  ['▁', -3, 1],
  ['a', -4, 1],
  ['b', -5, 1],
];

test("SentencePiece's tokenizer.model, with tokens of Hugging Face's files after it", async () => {
  const data = await imported(
    {
      'tokenizer.model': sentencePieceFile(PIECES, true),
      'added_tokens.json': { '<pad>': 264, '<tool>': 265 },
      'tokenizer_config.json': {
        added_tokens_decoder: { 0: { content: '<unk>', special: true }, 264: { content: '<pad>', special: true } },
        pad_token: '<pad>',
        add_bos_token: true,
        add_eos_token: false,
      },
    },
    { bos_token_id: 1, eos_token_id: 2, pad_token_id: -1 },
  );
  const { tokens, types, scores, ...rest } = data;
  assert.equal(tokens, [...PIECES.map(([text]) => text), '<pad>', '<tool>']);
  assert.equal(types, [...PIECES.map(([, , type]) => type), 3, 4]);
  assert.equal(scores, [...PIECES.map(([, score]) => score), 0, 0]);
  assert.equal(rest, {
    model: 'llama',
    pre: 'default',
    merges: [],
    bos: 1,
    eos: 2,
    eot: null,
    unknown: 0,
    padding: 264,
    addBos: true,
    addEos: false,
    addSpacePrefix: true,
    chatTemplate: null,
  });
  const tokenizer = await createTokenizer(data);
  assert.equal(
    tokenizer.encode('ab é<tool>b').map((id) => tokens[id]),
    ['<s>', '▁', 'ab', '▁', '<0xC3>', '<0xA9>', '<tool>', '▁', 'b'],
  );
});

test('a tokenizer.json that puts a space before some texts only gives way to the tokenizer.model beside it', async () => {
  const { json } = sentencePieceJson(false);
  for (const prepend_scheme of ['first', 'always']) {
    const metaspace = { type: 'Metaspace', replacement: '▁', prepend_scheme, split: false };
    const files = { 'tokenizer.json': { ...json, normalizer: null, pre_tokenizer: metaspace } };
    const error = await refusal(() => imported(files));
    assert.match(error.hint!, /tokenizer\.model of the same model beside it/);
    const model = { 'tokenizer.model': sentencePieceFile(PIECES, true) };
    assert.equal(await imported({ ...files, ...model }), await imported(model));
  }
});

test("SentencePiece's tokenizer, written and read again", async () => {
  const data = await imported({ 'tokenizer.model': sentencePieceFile(PIECES, false) });
  assert.is(data.addSpacePrefix, false);
  const files = Object.fromEntries(tokenizerFiles(data).map(([name, text]) => [name, Buffer.from(text)]));
  assert.equal(Object.keys(files), ['tokenizer.model', 'tokenizer_config.json']);
  assert.equal(await imported(files), data);
});

test('the chat template: its own file, a setting, one of several', async () => {
  const { json } = byteLevelJson('gpt-2');
  const template = async (files: Record<string, object | Buffer>) =>
    (await imported({ 'tokenizer.json': json, ...files })).chatTemplate;
  const setting = (chat_template: unknown) => ({ 'tokenizer_config.json': { chat_template } });
  assert.is(await template({}), null);
  assert.is(await template(setting('{{ a }}')), '{{ a }}');
  const several = [
    { name: 'tool_use', template: 'tools' },
    { name: 'default', template: 'plain' },
  ];
  assert.is(await template(setting(several)), 'plain');
  assert.is(await template({ ...setting('old'), 'chat_template.jinja': Buffer.from('new') }), 'new');
});

test('the end of a turn: by name, or from generation_config.json', async () => {
  const { json, count } = byteLevelJson('gpt-2');
  const ends = async (eos_token_id: unknown, added: string) => {
    const renamed = JSON.parse(JSON.stringify(json).replaceAll('<|eot_id|>', added));
    const config = { eos_token: '<|begin|>' };
    const files = {
      'tokenizer.json': renamed,
      'tokenizer_config.json': config,
      'generation_config.json': { eos_token_id },
    };
    const { eos, eot } = await imported(files);
    return [eos, eot];
  };
  assert.equal(await ends(undefined, '<|eot_id|>'), [count, count + 1]);
  assert.equal(await ends([count, count + 1], '<|eot_id|>'), [count, count + 1]);
  assert.equal(await ends([count, 7], '<|other|>'), [count, 7]);
  assert.equal(await ends(undefined, '<|other|>'), [count, null]);
});

test('a template may end a text with another token than generation does, as with embedding models', async () => {
  const { json, count } = byteLevelJson('qwen2');
  json.post_processor = {
    type: 'TemplateProcessing',
    single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '<|begin|>', type_id: 0 } }],
  };
  const data = await imported({ 'tokenizer.json': json, 'tokenizer_config.json': { eos_token: '<|eot_id|>' } });
  assert.equal([data.eos, data.eot, data.addBos, data.addEos], [count, count + 1, false, true]);
});

test('ids that no token has are unused, tokens past the table are left out', async () => {
  const { json, count } = byteLevelJson('gpt-2');
  json.added_tokens[3]!.id = count + 5;
  const data = await imported({ 'tokenizer.json': json }, {}, count + 5);
  assert.is(data.tokens.length, count + 3);
  const wider = await imported({ 'tokenizer.json': json });
  assert.equal(wider.tokens.slice(count + 3), [`[PAD${count + 3}]`, `[PAD${count + 4}]`, '<think>>']);
  assert.equal(wider.types.slice(count + 3), [5, 5, 4]);
  const files = Object.fromEntries(tokenizerFiles(wider).map(([name, text]) => [name, Buffer.from(text)]));
  assert.equal(await imported(files), wider);
});

test('merges as texts and as lists are the same', async () => {
  const { json } = byteLevelJson('llama-bpe');
  const lists = {
    ...json,
    model: { ...json.model, merges: json.model.merges.map((merge) => String(merge).split(' ')) },
  };
  assert.equal(await imported({ 'tokenizer.json': lists }), await imported({ 'tokenizer.json': json }));
});

test('names of JavaScript are tokens like others', async () => {
  const { json, count } = byteLevelJson('gpt-2');
  const vocab = JSON.stringify(json.model.vocab).replace('{', `{"__proto__":${count + 4},"constructor":${count + 5},`);
  const text = JSON.stringify({ ...json, model: { ...json.model, vocab: 'VOCAB' } }).replace('"VOCAB"', () => vocab);
  const data = await imported({ 'tokenizer.json': Buffer.from(text) });
  assert.equal(data.tokens.slice(count + 4), ['__proto__', 'constructor']);
  const files = Object.fromEntries(tokenizerFiles(data).map(([name, contents]) => [name, Buffer.from(contents)]));
  assert.equal((await imported(files)).tokens, data.tokens);
});

test.run();
