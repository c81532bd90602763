import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type MergeRules, mergeSymbols } from '../../runtime/src/tokenizer/merge.ts';
import { finish } from '../../slices.ts';

/** Rules over small numbers: a pair may merge to a larger number, its priority a hash of the two. */
const RULES: MergeRules = {
  find: (left, right) => ((left * 7 + right * 3) % 5 < 3 && left + right < 12 ? left * 100 + right : -1),
  priority: (rule) => (rule * 13) % 4,
  result: (rule) => Math.floor(rule / 100) + (rule % 100) + 1,
};

/** The same, by looking at every pair each time. */
function mergeSlowly(symbols: readonly number[]): number[] {
  const left = [...symbols];
  for (;;) {
    let best = -1;
    let priority = Number.POSITIVE_INFINITY;
    for (let at = 0; at + 1 < left.length; at++) {
      const rule = RULES.find(left[at]!, left[at + 1]!);
      if (rule >= 0 && RULES.priority(rule) < priority) {
        best = at;
        priority = RULES.priority(rule);
      }
    }
    if (best < 0) return left;
    left.splice(best, 2, RULES.result(RULES.find(left[best]!, left[best + 1]!)));
  }
}

test('merges the best pair first, of equals the leftmost, until none is left', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 60 }), (symbols) => {
      const merged = Int32Array.from(symbols);
      const count = finish(mergeSymbols(merged, RULES));
      assert.equal([...merged.subarray(0, count)], mergeSlowly(symbols));
    }),
    { numRuns: 1000, seed: 1 },
  );
});

test('pauses within a long word', () => {
  let pauses = 0;
  for (const steps = mergeSymbols(new Int32Array(50_000), RULES); !steps.next().done; ) pauses++;
  assert.ok(pauses > 50);
});

test.run();
