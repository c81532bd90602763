import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { BenchReport } from '../../bench/report/result.ts';
import { nativeTarget } from '../../targets/index.ts';
import { benchReport } from '../support/bench-report.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { invoke } from './invoke.ts';

const bench = suite('bitnet bench');
const folder = temporaryFolder('bench');
const out = join(folder, 'generated');
const QUICK = ['-p', '4', '-n', '2', '-t', '1', '-r', '1'];

bench('measures the default model: every row, the machine, waiting and memory', async () => {
  const report = join(folder, 'report.html');
  const wanted = ['--sequences', '1,2', '--report', report];
  const { code, stdout, stderr } = await invoke(['bench', ...QUICK, ...wanted, '--out', out, '--json']);
  assert.is(code, 0, stderr);
  const result: BenchReport = JSON.parse(stdout);
  assert.equal([result.target, result.threads, result.model], [nativeTarget().id, 1, 'storyteller-25m']);
  assert.equal(
    result.rows.map(({ kind, tokens, sequences }) => [kind, tokens, sequences]),
    [
      ['prefill', 4, 1],
      ['decode', 2, 1],
      ['decode', 2, 2],
    ],
  );
  for (const { tokensPerSecond, share, seconds } of result.rows) {
    assert.ok(tokensPerSecond.median > 0 && share.median > 0);
    assert.is(seconds.length, 1);
  }
  assert.ok(result.openMs.median > 0 && result.openMs.confidence >= 0.95);
  for (const figure of [result.memory.weights, result.memory.kv, result.memory.resident]) assert.ok(figure > 0);
  assert.match(readFileSync(report, 'utf8'), /^<!doctype html>.*storyteller-25m.*<\/html>\n$/s);
});

bench('cuts a context that the model has no room for, and prints a table', async () => {
  const { code, stdout, stderr } = await invoke(['bench', '--shape', 'tiny', ...QUICK, '--contexts', '100000']);
  assert.is(code, 0, stderr);
  assert.match(stdout, /^tiny on .*, 1 thread, /);
  assert.match(stdout, /^prefill 4 after 508 .* of the (int8 peak|bandwidth) .* ms$/m);
  assert.match(stdout, /^decode 2 after 508 /m);
  assert.match(stdout, /^machine: reading .* GB\/s, .* G int8 MAC\/s\nopened in .* ms; resident /m);
});

const [before, after] = ['before.json', 'after.json'].map((name) => join(folder, name));
writeFileSync(before!, JSON.stringify(benchReport({ model: 'old\u001b[2J' })));
const { rows } = benchReport({});
const twice = { ...rows[1]!, tokensPerSecond: { median: 42, low: 41, high: 43, confidence: 0.97 } };
writeFileSync(after!, JSON.stringify(benchReport({ rows: [rows[0]!, twice] })));

bench('compares two results', async () => {
  const { code, stdout } = await invoke(['bench', '--compare', before!, after!]);
  assert.is(code, 0);
  assert.match(stdout, /^first {3}old\\u001b\[2J on ref, 2 threads/);
  assert.match(stdout, /^prefill 128 .* 1\.00× .* not clear$/m);
  assert.match(stdout, /^decode 128 .* 42\.0 .* faster$/m);
  assert.match(stdout, /^in one of them only: decode 128 × 4 \(first\)$/m);
  const { rows: compared } = JSON.parse((await invoke(['bench', '--compare', before!, after!, '--json'])).stdout);
  assert.equal(
    compared.map(({ name, verdict }: { name: string; verdict: string }) => [name, verdict]),
    [
      ['prefill 128', 'not clear'],
      ['decode 128', 'faster'],
    ],
  );
});

const WRONG: [string[], number, RegExp][] = [
  [['--compare', before!], 2, /--compare takes two results/],
  [[before!, after!], 2, /--compare takes two results/],
  [['--sequences', '1,x'], 2, /--sequences.*must be a number/],
  [['--contexts', '-1'], 2, /--contexts.*0 or more/],
  [['--compare', before!, join(folder, 'none.json')], 1, /cannot read .*none\.json/],
  [['--compare', before!, after!, '--report', join(folder, 'no', 'page.html')], 1, /cannot write .*page\.html/],
];
for (const [argv, exit, message] of WRONG) {
  bench(`ends with ${exit} for ${argv.map((word) => word.replace(folder, '…')).join(' ')}`, async () => {
    const { code, stdout, stderr } = await invoke(['bench', ...argv]);
    assert.is(code, exit);
    assert.is(stdout, '');
    assert.match(stderr, message);
  });
}

bench.run();
