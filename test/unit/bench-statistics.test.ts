import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { estimate, isClear, median, quotient } from '../../statistics.ts';

test('median', () => {
  assert.is(median([3]), 3);
  assert.is(median([9, 1, 4]), 4);
  assert.is(median([4, 1, 9, 2]), 3);
  assert.ok(Number.isNaN(median([])));
});

test('one value says nothing of the others', () => {
  assert.equal(estimate([7]), { median: 7, low: 7, high: 7, confidence: 0 });
});

// Tabulated: the order statistics that hold the median with 95% or more, for n from 6 (1 and 6: 96.88%) upwards.
const TABLE: [n: number, k: number, confidence: number][] = [
  [2, 1, 0.5],
  [3, 1, 0.75],
  [5, 1, 0.9375],
  [6, 1, 0.96875],
  [8, 1, 0.9921875],
  [9, 2, 0.9609375],
  [10, 2, 0.978515625],
  [12, 3, 0.96142578125],
  [20, 6, 0.958610534667969],
  [25, 8, 0.9567147493362427],
];
for (const [n, k, confidence] of TABLE) {
  test(`the interval of the median of ${n} values`, () => {
    // From 1 to n, in no order: 29 shares no factor with any n of the table.
    const result = estimate(Array.from({ length: n }, (_, i) => ((i * 29) % n) + 1));
    assert.is(result.low, k);
    assert.is(result.high, n + 1 - k);
    assert.ok(Math.abs(result.confidence - confidence) < 1e-12, String(result.confidence));
  });
}

test('the interval holds the true median as often as it says', () => {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  let held = 0;
  for (let i = 0; i < 4000; i++) {
    // Skewed on purpose: the exponential distribution, whose median is ln 2.
    const { low, high } = estimate(Array.from({ length: 9 }, () => -Math.log(1 - uniform())));
    if (low <= Math.LN2 && Math.LN2 <= high) held++;
  }
  assert.ok(Math.abs(held / 4000 - 0.9609375) < 0.015, String(held));
});

test('a quotient holds wherever both intervals do', () => {
  const a = { median: 10, low: 8, high: 12.5, confidence: 0.97 };
  const b = { median: 20, low: 16, high: 25, confidence: 0.96 };
  const ratio = quotient(a, b);
  assert.is(ratio.median, 2);
  assert.is(ratio.low, 16 / 12.5);
  assert.is(ratio.high, 25 / 8);
  assert.ok(Math.abs(ratio.confidence - 0.93) < 1e-12);
  assert.ok(isClear(ratio));
  assert.ok(isClear(quotient(b, a)));
});

test('what is not clear: an interval around 1, or too few runs', () => {
  assert.not(isClear({ median: 1.1, low: 0.99, high: 1.2, confidence: 0.95 }));
  assert.not(isClear(quotient(estimate([1, 1.1, 1.2]), estimate([5, 5.1, 5.2]))));
  assert.ok(isClear(quotient(estimate([1, 1.1, 1.2, 1.3]), estimate([5, 5.1, 5.2, 5.3]))));
});

test.run();
