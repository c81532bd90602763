import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkResult, confirm, EMPTY, readBaseline, withResult } from '../../bench/check/baseline.ts';
import { estimate } from '../../statistics.ts';
import { benchReport, benchRow } from '../support/bench-report.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('bench-check');
const report = (...shares: number[]) => benchReport({ rows: [benchRow({ share: estimate(shares) })] });
const verdict = (before: number[], now: number[]) =>
  checkResult(withResult(EMPTY, report(...before)), report(...now))[0]!;

test('what is as before is held, and what is faster', () => {
  assert.is(verdict([0.8, 0.81, 0.82], [0.8, 0.81, 0.82]).verdict, 'held');
  assert.is(verdict([0.8, 0.81, 0.82], [0.9, 0.91, 0.92]).verdict, 'held');
});

test('a fall of more than a tenth is lost where the runs are clearly below the baseline', () => {
  const { verdict: lost, ratio } = verdict([0.8, 0.81, 0.82], [0.6, 0.61, 0.62]);
  assert.is(lost, 'lost');
  assert.is(ratio!.median, 0.61 / 0.81);
  assert.is(verdict([0.8, 0.81, 0.82], [0.6, 0.61, 0.82]).verdict, 'held', 'one run was as fast');
  assert.is(verdict([0.8, 0.81, 0.82], [0.74, 0.75, 0.76]).verdict, 'held', 'less than a tenth');
  assert.is(verdict([0.3, 0.81, 0.9], [0.6, 0.61, 0.62]).verdict, 'lost', 'a wide baseline hides nothing');
});

test('what reads less and takes as long is no loss', () => {
  const whole = benchReport({ rows: [benchRow({ share: estimate([0.8, 0.81]), pace: estimate([0.8, 0.81]) })] });
  const skipping = (...pace: number[]) =>
    benchReport({ rows: [benchRow({ share: estimate([0.6, 0.61]), pace: estimate(pace) })] });
  const stored = withResult(EMPTY, whole);
  assert.is(checkResult(stored, skipping(0.8, 0.81))[0]!.verdict, 'held');
  assert.is(checkResult(stored, skipping(0.6, 0.61))[0]!.verdict, 'lost');
});

test('what seems lost is held where a second measurement holds it, and lost where it does not', () => {
  const stored = withResult(EMPTY, report(0.8, 0.81, 0.82));
  const [slow, fast] = [checkResult(stored, report(0.6, 0.61, 0.62)), checkResult(stored, report(0.79, 0.8, 0.81))];
  assert.equal(confirm(slow, fast), fast);
  assert.equal(confirm(slow, slow), slow);
  assert.equal(confirm(fast, slow), fast);
});

test('what was never measured is new, for each target and number of threads by itself', () => {
  const stored = withResult(EMPTY, report(0.8, 0.81));
  assert.is(checkResult(stored, benchReport({ target: 'x86-avx2' }))[0]!.verdict, 'new');
  assert.is(checkResult(stored, benchReport({ threads: 1 }))[0]!.verdict, 'new');
  assert.equal(
    checkResult(stored, benchReport({})).map(({ row, verdict: one }) => [row, one]),
    [
      ['prefill 128', 'new'],
      ['decode 128', 'held'],
      ['decode 128 × 4', 'new'],
    ],
  );
});

test('an update replaces a result and leaves the others', () => {
  const two = withResult(withResult(EMPTY, report(0.5)), benchReport({ target: 'x86-avx2' }));
  const updated = withResult(two, report(0.7));
  assert.equal(Object.keys(updated.results), ['m ref 2 threads', 'm x86-avx2 2 threads']);
  assert.is(updated.results['m ref 2 threads']!.shares['decode 128']!.median, 0.7);
  assert.is(two.results['m ref 2 threads']!.shares['decode 128']!.median, 0.5);
});

test('a baseline is read as it was written; none is an empty one', async () => {
  const stored = withResult(EMPTY, report(0.5, 0.6));
  const file = join(folder, 'baseline.json');
  assert.equal(await readBaseline(file), EMPTY);
  writeFileSync(file, JSON.stringify(stored));
  assert.equal(await readBaseline(file), stored);
  for (const bad of ['', '{"format":1}', JSON.stringify(stored).replace('0.5', '-0.5')]) {
    writeFileSync(file, bad);
    try {
      await readBaseline(file);
      assert.unreachable();
    } catch (error) {
      assert.match((error as Error).message, /is no baseline/);
    }
  }
});

test.run();
