import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildTables } from '../../artifact/tokenizer/build.ts';
import { packTokenizer, unpackTokenizer } from '../../artifact/tokenizer/file.ts';
import { mergesOf, SECTIONS, type Section, textsOf } from '../../artifact/tokenizer/tables.ts';
import { finish } from '../../slices.ts';
import { byteLevel, trainBpe } from './tokenizer-samples.ts';

const data = trainBpe('gpt-2', 400);
const tables = finish(buildTables(data));
const file = packTokenizer(tables);

test('what is packed is unpacked, each list where its type may lie', () => {
  const { scalars, longest, textFactors, mergeFactors, ...lists } = unpackTokenizer(Uint8Array.from(file));
  assert.equal(
    { scalars, longest, textFactors, mergeFactors },
    {
      scalars: tables.scalars,
      longest: tables.longest,
      textFactors: tables.textFactors,
      mergeFactors: tables.mergeFactors,
    },
  );
  for (const name of Object.keys(SECTIONS) as Section[]) {
    assert.instance(lists[name], SECTIONS[name]);
    assert.equal([...lists[name]], [...tables[name]], name);
  }
});

test('the same lists give the same bytes, other lists other factors', () => {
  assert.equal(packTokenizer(finish(buildTables(data))), file);
  const other = finish(buildTables({ ...data, tokens: [...data.tokens, 'another'], types: [] }));
  assert.not.equal(other.textFactors, tables.textFactors);
});

test('a file that ends early, or goes on, is refused', () => {
  for (const length of [0, 3, 4, 100, file.length - 1]) {
    assert.throws(() => unpackTokenizer(file.slice(0, length)), /it has \d+ bytes/);
  }
  const longer = new Uint8Array(file.length + 1);
  longer.set(file);
  assert.throws(() => unpackTokenizer(longer), `it has ${longer.length} bytes, its header says ${file.length}`);
});

test('every text and every merge is found, and nothing else', () => {
  const texts = textsOf(tables);
  const merges = mergesOf(tables)!;
  assert.is(texts.length, data.tokens.length);
  data.tokens.forEach((text, id) => {
    assert.is(texts.of(id), text);
    assert.is(texts.find(text), data.tokens.indexOf(text));
    assert.is(texts.find(`${text} `), -1);
  });
  const ranks = new Map(data.merges.map((merge, rank) => [merge, rank]));
  for (let left = 0; left < texts.length; left += 3) {
    for (let right = 0; right < texts.length; right++) {
      const merge = `${texts.of(left)} ${texts.of(right)}`;
      assert.is(merges.find(left, right), ranks.get(merge) ?? -1, merge);
    }
  }
});

test('texts of any characters, none and half a character included', () => {
  const tokens = ['', 'é語😀', '\ud83d', '\udc00x', '\u0000', 'a'.repeat(300)];
  const odd = unpackTokenizer(packTokenizer(finish(buildTables(byteLevel('gpt-2', tokens, ['a b'])))));
  const texts = textsOf(odd);
  tokens.forEach((text, id) => {
    assert.is(texts.of(id), text);
    assert.is(texts.find(text), text === '' ? -1 : id);
  });
});

test.run();
