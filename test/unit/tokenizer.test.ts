import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as Oracle } from '@huggingface/tokenizers';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BYTE_CHARS } from '../../artifact/tokenizer/byte-alphabet.ts';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { importModel } from '../../compiler/import/index.ts';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';
import { createTokenizer } from '../support/tokenizer.ts';
import { byteLevel, SAMPLES, trainBpe } from './tokenizer-samples.ts';

const models = join(packageRoot(), 'models');
const read = (name: string) => readFileSync(join(models, name), 'utf8');
const { tokenizer: data } = await importModel(join(models, 'storyteller-25m-i2_s.gguf'));
const tokenizer = await createTokenizer(data);
const oracle = new Oracle(JSON.parse(read('storyteller-25m.tokenizer.json')), {});
const evaluation = read('eval_tokens.txt').match(/\d+/g)!.map(Number);
const plain = { addBos: false };
const BOS = 4094;
const EOS = 4095;

test('the default model: prompts become the ids that it was trained with', () => {
  for (const { prompt, tokens } of JSON.parse(read('greedy.json'))) assert.equal(tokenizer.encode(prompt), tokens);
});

test('the default model: its evaluation text becomes its evaluation tokens', () => {
  const text = tokenizer.decode(evaluation, { special: true });
  assert.equal(tokenizer.encode(text, { ...plain, special: true }), evaluation);
});

test('the default model agrees with Hugging Face on samples and on each of its tokens', () => {
  const texts = [
    ...SAMPLES.filter((text) => text !== '' && !text.includes('<|')),
    ...data.tokens.slice(0, BOS).map((_, id) => tokenizer.decode([id])),
  ];
  for (const text of texts) assert.equal(tokenizer.encode(text, plain), oracle.encode(text).ids, JSON.stringify(text));
});

test('byte-level BPE gives back any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
      assert.is(tokenizer.decode(tokenizer.encode(text)), text);
    }),
    { seed: 1 },
  );
  assert.is(tokenizer.decode(tokenizer.encode('\ud83d \udc00')), '\ufffd \ufffd');
});

test('long and hostile texts take linear time', () => {
  for (const unit of ['a', ' ', '\n', '😀', "'", '7', 'aB', '<', '\ud800']) {
    const text = unit.repeat(200_000 / unit.length);
    const ids = tokenizer.encode(text, plain);
    if (unit !== '\ud800') assert.ok(tokenizer.decode(ids) === text, unit);
  }
});

test('encodeAsync gives the same and lets others work', async () => {
  const text = tokenizer.decode(evaluation).repeat(10);
  for (const long of [text, 'a'.repeat(500_000)]) {
    let turns = 0;
    let busy = true;
    const count = () => {
      turns++;
      if (busy) setImmediate(count);
    };
    setImmediate(count);
    const ids = await tokenizer.encodeAsync(long);
    busy = false;
    assert.ok(turns > 3);
    assert.ok(ids.join() === tokenizer.encode(long).join());
  }
});

test('two encodings at once do not disturb each other', async () => {
  const texts = ['a'.repeat(300_000), `${'b '.repeat(100_000)}`];
  const results = await Promise.all(texts.map((text) => tokenizer.encodeAsync(text)));
  results.forEach((ids, n) => {
    assert.ok(tokenizer.decode(ids) === texts[n]);
  });
});

test('control tokens in a text are text, unless asked for', () => {
  const text = '<|begin_of_text|>Hi<|end_of_text|>';
  const forged = tokenizer.encode(text);
  assert.is(forged.filter((id) => id >= BOS).length, 1);
  assert.is(tokenizer.decode(forged), text);
  assert.equal(
    tokenizer.encode(text, { special: true }),
    [BOS, ...tokenizer.encode('Hi', plain), EOS],
    'and no second BOS',
  );
  assert.is(tokenizer.decode([BOS, EOS]), '');
  assert.is(tokenizer.decode([BOS, EOS], { special: true }), '<|begin_of_text|><|end_of_text|>');
});

test('a stream never splits a character, and its pieces are the text', async () => {
  const text = 'é😀語';
  const bytes = await createTokenizer(byteLevel('gpt-2', BYTE_CHARS, ['Ā ā']));
  const stream = bytes.stream();
  const pieces = bytes.encode(text).map((id) => stream.push(id));
  assert.equal(pieces, ['', 'é', '', '', '', '😀', '', '', '語']);
  assert.is(stream.end(), '');
  stream.push(0xf0);
  assert.is(stream.end(), '\ufffd', 'what is never completed');
});

test('a stream and decode agree on any ids', () => {
  const anyId = fc.integer({ min: 0, max: EOS });
  fc.assert(
    fc.property(fc.array(fc.oneof(anyId, fc.integer({ min: 94, max: 255 }))), fc.boolean(), (ids, special) => {
      const stream = tokenizer.stream({ special });
      const text = ids.map((id) => stream.push(id)).join('') + stream.end();
      const bytes = ids.filter((id) => special || id < BOS).map((id) => tokenizer.tokenBytes(id));
      assert.is(text, Buffer.concat(bytes).toString());
      assert.is(text, tokenizer.decode(ids, { special }));
    }),
    { seed: 1, numRuns: 300 },
  );
});

test('an id outside the vocabulary is refused, with the range', () => {
  for (const id of [-1, 4096, 1.5, Number.NaN]) {
    for (const use of [
      () => tokenizer.decode([id]),
      () => tokenizer.stream().push(id),
      () => tokenizer.tokenText(id),
    ]) {
      assert.throws(use, (error: unknown) => error instanceof BitnetError && error.message.includes('0 to 4095'));
    }
  }
});

test('properties', () => {
  assert.is(tokenizer.vocab, 4096);
  assert.is(tokenizer.bos, BOS);
  assert.is(tokenizer.eos, EOS);
  assert.equal([...tokenizer.stopTokens], [EOS]);
  assert.is(tokenizer.tokenText(BOS), '<|begin_of_text|>');
  assert.is(Buffer.from(tokenizer.tokenBytes(tokenizer.encode(' the', plain)[0]!)).toString(), ' the');
});

test('stop tokens are known by id and by name', async () => {
  const base = trainBpe('llama3', 3);
  const names = ['<|eot_id|>', '<|im_end|>', '</s>', '<|other|>', '<end_of_turn>', 'stop'];
  const first = base.tokens.length;
  const types = [...base.types, 3, 4, 1, 3, 3, 1];
  const stops = await createTokenizer({ ...base, tokens: [...base.tokens, ...names], types, eot: first + 5 });
  assert.equal([...stops.stopTokens].sort(), [first, first + 1, first + 4, first + 5], '</s> of type 1 is text');
  const untyped = await createTokenizer({ ...base, tokens: [...base.tokens, ...names], types: [] });
  assert.equal([...untyped.stopTokens], [first, first + 1, first + 2, first + 4]);
});

test('of special tokens the leftmost, then the longest, is cut out', async () => {
  const base = byteLevel('gpt-2', BYTE_CHARS, ['Ā ā']);
  const names = ['<x', '<x>', '>y', '   '];
  const tokens = [...base.tokens, ...names];
  const added = await createTokenizer({ ...base, tokens, types: [...base.types, 4, 4, 4, 4] });
  const spell = (text: string) => added.encode(text).map((id) => added.tokenText(id));
  assert.equal(spell('a<x>y'), ['a', '<x>', 'y']);
  assert.equal(spell('<x<x>'), ['<x', '<x>']);
  assert.equal(spell('     '), ['   ', 'Ġ', 'Ġ']);
});

const small = trainBpe('gpt-2', 5);
const damaged: [string, Partial<TokenizerData>, string][] = [
  ['an empty vocabulary', { tokens: [], types: [] }, 'empty'],
  ['types of another length', { types: [1, 2, 3] }, '3 types'],
  ['a special token outside the vocabulary', { eos: 100_000 }, '100000'],
  ['a special token that is no integer', { bos: 1.5 }, '1.5'],
  ['BOS wanted but not there', { addBos: true }, 'bos'],
  ['no merges', { merges: [] }, 'merges'],
  ['a merge without a space', { merges: ['ab'] }, '"ab"'],
  ['a merge of one token', { merges: ['a b', 'a '] }, 'merge 1'],
  ['an unknown pre-tokenizer', { pre: 'nonsense' }, 'nonsense'],
  ['an endless special token', { tokens: ['x'.repeat(1000), ...small.tokens.slice(1)], bos: 0 }, '1000'],
];
for (const [name, change, message] of damaged) {
  test(`refused: ${name}`, async () => {
    try {
      await createTokenizer({ ...small, ...change });
    } catch (error) {
      assert.instance(error, BitnetError);
      assert.match((error as Error).message, message);
      return;
    }
    assert.unreachable();
  });
}

test('odd vocabularies have a meaning: unknown parts never merge, the first of equals counts', async () => {
  const tokens = [...BYTE_CHARS, 'ab', 'ab', '', 'aba'];
  const merges = ['zz q', 'a b', 'b a', 'a b', 'ab a', 'ab zz', 'a b'];
  const odd = await createTokenizer(byteLevel('gpt-2', tokens, merges));
  assert.equal(
    odd.encode('abaab').map((id) => odd.tokenText(id)),
    ['aba', 'ab'],
  );
  assert.is(odd.encode('ab')[0], 256);
  assert.is(odd.decode([256, 257, 258]), 'abab');
});

test('a byte that the vocabulary lacks is an error that names it, or the unknown token', async () => {
  const without = byteLevel('gpt-2', [...'abc', '<unk>'], ['a b']);
  const strict = await createTokenizer(without);
  assert.throws(() => strict.encode('abz'), /0x7A/);
  const vague = await createTokenizer({ ...without, unknown: 3 });
  assert.equal(vague.encode('az'), [0, 3]);
});

test.run();
