import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { createTokenizer } from '../support/tokenizer.ts';

/** Text tokens and their scores, after <unk>, <s>, </s>, the 256 bytes and the added token <tool>. */
const SCORES: Record<string, number> = {
  '▁': -20,
  a: -21,
  b: -22,
  c: -23,
  x: -24,
  '>': -25,
  '</': -26,
  '</s': -27,
  ab: -1,
  bc: -2,
  abc: -3,
  '▁a': -4,
  xx: -5,
  qr: -6,
};
const FIRST = 3 + 256 + 1;
const TOOL = FIRST - 1;
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);

const DATA: TokenizerData = {
  model: 'llama',
  pre: '',
  tokens: ['<unk>', '<s>', '</s>', ...byteTokens, '<tool>', ...Object.keys(SCORES)],
  types: [2, 3, 3, ...byteTokens.map(() => 6), 4, ...Object.keys(SCORES).map(() => 1)],
  scores: [...new Array(FIRST).fill(0), ...Object.values(SCORES)],
  merges: [],
  bos: 1,
  eos: 2,
  eot: null,
  unknown: 0,
  padding: null,
  addBos: true,
  addEos: false,
  addSpacePrefix: true,
  chatTemplate: null,
};
const tokenizer = await createTokenizer(DATA);
const plain = { addBos: false };
const ids = (...tokens: string[]) => tokens.map((token) => FIRST + Object.keys(SCORES).indexOf(token));
const bytes = (text: string) => [...Buffer.from(text)].map((byte) => 3 + byte);

test('merges by score, not from left to right', () => {
  assert.equal(tokenizer.encode('abc', plain), ids('▁', 'abc'), 'ab -1, then abc -3, before ▁a -4');
  assert.equal(tokenizer.encode('aab', plain), ids('▁a', 'ab'));
  assert.equal(tokenizer.encode('bc', plain), ids('▁', 'bc'));
  assert.equal(tokenizer.encode('xxx', plain), ids('▁', 'xx', 'x'), 'of equal scores the leftmost');
  assert.equal(tokenizer.encode('a  a', plain), ids('▁a', '▁', '▁a'));
});

test('characters that are no token merge into tokens, or fall back to bytes', () => {
  assert.equal(tokenizer.encode('qr', plain), ids('▁', 'qr'));
  assert.equal(tokenizer.encode('rq', plain), [...ids('▁'), ...bytes('rq')]);
  assert.equal(tokenizer.encode('é😀', plain), [...ids('▁'), ...bytes('é😀')]);
  assert.equal(tokenizer.encode('\ud800\n', plain), [...ids('▁'), ...bytes('\ufffd\n')]);
});

test('without byte tokens an unknown character becomes the unknown token, or an error', async () => {
  const types = DATA.types.map((type) => (type === 6 ? 5 : type));
  const vague = await createTokenizer({ ...DATA, types });
  assert.equal(vague.encode('q', plain), [...ids('▁'), 0]);
  const strict = await createTokenizer({ ...DATA, types, unknown: null });
  assert.throws(() => strict.encode('q', plain), /0x71/);
});

test('control tokens are read only on request, added tokens always, and text after either gets its space', () => {
  assert.equal(tokenizer.encode('</s>', plain), ids('▁', '</s', '>'), 'never merged into the control token');
  assert.equal(tokenizer.encode('a</s>a', { ...plain, special: true }), [...ids('▁a'), 2, ...ids('▁a')]);
  assert.equal(tokenizer.encode('a<tool>a', plain), [...ids('▁a'), TOOL, ...ids('▁a')]);
  assert.equal(tokenizer.encode('<0x0A>', plain).includes(3 + 10), false, 'nor are byte tokens');
});

test('BOS and EOS as asked, never twice', () => {
  assert.equal(tokenizer.encode('a'), [1, ...ids('▁a')]);
  assert.equal(tokenizer.encode(''), [1]);
  assert.equal(tokenizer.encode('<s>a', { special: true, addEos: true }), [1, ...ids('▁a'), 2]);
});

test('decode is the inverse of encode; a continuation keeps its space', () => {
  for (const text of ['', 'abc xx  q', ' a', '  ', 'é😀 \n', 'a<tool>'])
    assert.is(tokenizer.decode(tokenizer.encode(text)), text);
  assert.is(tokenizer.decode(ids('▁a', 'b')), 'ab');
  assert.is(tokenizer.decode(ids('▁a', 'b'), { continues: true }), ' ab');
  assert.is(tokenizer.decode([1, ...ids('▁a'), 2], { special: true }), '<s> a</s>');
  assert.equal([...tokenizer.tokenBytes(3 + 0xe2)], [0xe2]);
});

test('scores must be there for each token', async () => {
  try {
    await createTokenizer({ ...DATA, scores: [1, 2] });
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, '2 scores');
  }
});

test.run();
