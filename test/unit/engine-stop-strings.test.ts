import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { StopStrings } from '../../runtime/src/stop-strings.ts';

/** What comes out of each piece, and at the end. */
function run(stops: readonly string[], pieces: readonly string[]): string[] {
  const finder = new StopStrings(stops);
  return [...pieces.map((piece) => finder.push(piece)), finder.end()];
}

test('without stop strings everything comes out at once', () => {
  assert.equal(run([], ['ab', 'c', '']), ['ab', 'c', '', '']);
});

test('a stop string within a piece cuts the text before it', () => {
  assert.equal(run(['END'], ['text END more', ' and more']), ['text ', '', '']);
});

test('a stop string across pieces is held back from its first letter', () => {
  assert.equal(run(['END'], ['text E', 'N', 'D', 'x']), ['text ', '', '', '', '']);
});

test('what turns out to be none comes out late', () => {
  assert.equal(run(['END'], ['a E', 'N', 'd']), ['a ', '', 'ENd', '']);
  assert.equal(run(['END'], ['a E', 'N']), ['a ', '', 'EN']);
});

test('a beginning inside a beginning is kept', () => {
  assert.equal(run(['aab'], ['a', 'a', 'a', 'b', 'c']), ['', '', 'a', '', '', '']);
});

test('of several the one that is complete first counts, the longest of those', () => {
  assert.equal(run(['cd', 'bcd'], ['abcd']), ['a', '']);
  assert.equal(run(['b', 'abc'], ['abc']), ['a', '']);
  assert.equal(run(['b', 'abc'], ['a', 'b', 'c']), ['', 'a', '', '']);
});

test('found says when to stop', () => {
  const finder = new StopStrings(['x']);
  finder.push('ab');
  assert.not(finder.found);
  finder.push('x');
  assert.ok(finder.found);
});

test('however the text is cut into pieces, the same text comes out', () => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 30 });
  const stop = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 4 });
  const cuts = fc.array(fc.nat(30), { maxLength: 8 });
  fc.assert(
    fc.property(text, fc.array(stop, { minLength: 1, maxLength: 3 }), cuts, (whole, stops, at) => {
      const bounds = [0, ...at.filter((cut) => cut < whole.length).sort((a, b) => a - b), whole.length];
      const pieces = bounds.slice(1).map((end, i) => whole.slice(bounds[i], end));
      const out = run(stops, pieces).join('');
      const met = stops.filter((it) => whole.includes(it));
      if (met.length === 0) return out === whole;
      const end = Math.min(...met.map((it) => whole.indexOf(it) + it.length));
      const longest = Math.max(...met.filter((it) => whole.slice(0, end).endsWith(it)).map((it) => it.length));
      return out === whole.slice(0, end - longest);
    }),
  );
});

test.run();
