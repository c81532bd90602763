import { Tokenizer as Oracle } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { preTokenizer } from '../../runtime/src/tokenizer/pretokenize.ts';
import { createTokenizer } from '../support/tokenizer.ts';
import { SAMPLES, trainBpe } from './tokenizer-samples.ts';

/** The published regular expressions, white space being Unicode's. */
const S = '\\p{White_Space}';
const ANY_CASE = "'(?:[sSdDmMtT]|[rR][eE]|[vV][eE]|[lL][lL])";
const GPT2 = `'(?:[sdmt]|re|ve|ll)| ?\\p{L}+| ?\\p{N}+| ?[^${S}\\p{L}\\p{N}]+|${S}+(?!\\P{White_Space})|${S}+`;
const llama = (digits: string) =>
  `${ANY_CASE}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^${S}\\p{L}\\p{N}]+[\\r\\n]*|${S}*[\\r\\n]+|${S}+(?!\\P{White_Space})|${S}+`;
const EXPRESSIONS: Record<string, readonly string[]> = {
  'llama-bpe': [llama('{1,3}')],
  llama3: [llama('{1,3}')],
  'llama-v3': [llama('{1,3}')],
  falcon3: [llama('{1,3}')],
  qwen2: [llama('')],
  'gpt-2': [GPT2],
  default: ['[\\p{P}$+<=>^~|]+', GPT2, '\\p{N}+', '[0-9][0-9][0-9]'],
};

function words(pre: string, text: string): string[] {
  const found: string[] = [];
  let start = 0;
  for (const end of preTokenizer(pre).words(text, 0, text.length)) {
    if (end > start) found.push(text.slice(start, end));
    start = end;
  }
  return found;
}

/** Each expression in turn cuts the pieces of the one before into its matches and what lies between. */
function expectedWords(pre: string, text: string): string[] {
  return EXPRESSIONS[pre]!.reduce(
    (pieces, expression) => pieces.flatMap((piece) => piece.split(new RegExp(`(${expression})`, 'u')).filter(Boolean)),
    [text],
  );
}

const corners = fc.constantFrom(
  ...[
    ..." \n\r\t\u00a0\u0085\ufeffaZéſ0१½'’!<$-_😀𝒜𝟘語\u0301\ud800\udc00\u0000",
    "'s",
    "'LL",
    "'re",
    '12',
    '  ',
    '\r\n',
  ],
);
const texts = fc.array(corners, { maxLength: 24 }).map((parts) => parts.join(''));

for (const pre of Object.keys(EXPRESSIONS)) {
  test(`${pre} cuts words as its regular expression does`, () => {
    for (const text of SAMPLES) assert.equal(words(pre, text), expectedWords(pre, text));
    fc.assert(
      fc.property(texts, (text) => assert.equal(words(pre, text), expectedWords(pre, text))),
      { numRuns: 1500, seed: 1 },
    );
  });

  test(`${pre} gives the ids that Hugging Face's tokenizer gives`, async () => {
    const data = trainBpe(pre, 150);
    const tokenizer = await createTokenizer(data);
    const oracle = new Oracle(
      {
        version: '1.0',
        added_tokens: [],
        normalizer: null,
        post_processor: null,
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            ...EXPRESSIONS[pre]!.map((Regex) => ({
              type: 'Split',
              pattern: { Regex },
              behavior: 'Isolated',
              invert: false,
            })),
            { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
          ],
        },
        decoder: { type: 'ByteLevel' },
        model: {
          type: 'BPE',
          ignore_merges: pre.startsWith('llama') || pre === 'falcon3',
          vocab: Object.fromEntries(data.tokens.map((token, id) => [token, id])),
          merges: data.merges.map((merge) => merge.split(' ')),
        },
      },
      {},
    );
    for (const text of SAMPLES) {
      const ids = tokenizer.encode(text);
      assert.equal(ids, text === '' ? [] : oracle.encode(text).ids, JSON.stringify(text));
      assert.is(tokenizer.decode(ids), Buffer.from(text).toString());
    }
  });
}

test('a word longer than what is looked at between two pauses stays one word', () => {
  for (const [pre, run] of [
    ['llama-bpe', 'é'],
    ['gpt-2', '😀'],
    ['default', ' '],
    ['qwen2', '\n'],
  ] as const) {
    const text = run.repeat(20000);
    assert.equal(words(pre, text), [text], pre);
  }
});

test('an unknown pre-tokenizer is refused, and the supported ones are named', () => {
  try {
    preTokenizer('tekken');
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'tekken');
    assert.match((error as { hint: string }).hint, 'llama-bpe');
    assert.match((error as { hint: string }).hint, 'gpt-2');
  }
});

test.run();
