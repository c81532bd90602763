// Runs the test files, each in a process of its own and as many at once as there are cores, so that none finds what another left:
//   npm test [-- PATTERN] [--jobs N] [--times]
// Prints what each file prints when it ends, and the totals of all as uvu prints those of one. --times adds what each took.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, sep } from 'node:path';
import { parseArgs, stripVTControlCharacters } from 'node:util';
import { packageRoot } from '../package-root.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    jobs: { type: 'string', default: String(availableParallelism()) },
    times: { type: 'boolean', default: false },
  },
});

/** What takes longest begins first, so that nobody waits for it at the end. */
const FIRST = ['browser', 'unit', 'cli', 'golden', 'bad-input', 'model', 'conformance'];

interface Outcome {
  readonly total: number;
  readonly passed: number;
  readonly skipped: number;
}

const root = packageRoot();
const pattern = new RegExp(positionals[0] ?? '');
const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && pattern.test(file))
  .sort((a, b) => FIRST.indexOf(b.split(sep)[0]) - FIRST.indexOf(a.split(sep)[0]));

/** uvu's own count of what it ran. */
function countOf(printed: string, what: 'Total' | 'Passed' | 'Skipped'): number {
  return Number(new RegExp(`^  ${what}: +(\\d+)$`, 'm').exec(printed)?.[1]);
}

function runFile(file: string): Promise<Outcome> {
  const start = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', join('test', file)], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  return new Promise((resolve) => {
    child.on('close', (code, killedBy) => {
      const seconds = ((performance.now() - start) / 1000).toFixed(1);
      const printed = stripVTControlCharacters(output);
      const [total, passed, skipped] = (['Total', 'Passed', 'Skipped'] as const).map((what) => countOf(printed, what));
      console.log(`${file}${values.times ? ` ${seconds} s` : ''}\n${printed.split('\n  Total:')[0].trimEnd()}`);
      if (!Number.isNaN(total) && (code === 0) === (total === passed)) {
        resolve({ total, passed, skipped });
        return;
      }
      console.log(`${file} ended with ${killedBy ?? `exit code ${code}`} whatever its tests say: one more failure`);
      resolve({ total: (total || 0) + 1, passed: passed || 0, skipped: skipped || 0 });
    });
  });
}

const start = performance.now();
const sum = { total: 0, passed: 0, skipped: 0 };
const queue = files.values();
await Promise.all(
  Array.from({ length: Number(values.jobs) }, async () => {
    for (const file of queue) {
      const { total, passed, skipped } = await runFile(file);
      sum.total += total;
      sum.passed += passed;
      sum.skipped += skipped;
    }
  }),
);
console.log(`\n  Total:     ${sum.total}\n  Passed:    ${sum.passed}\n  Skipped:   ${sum.skipped}`);
console.log(`  Duration:  ${(performance.now() - start).toFixed(2)}ms\n`);
if (sum.passed !== sum.total || sum.total === 0) process.exitCode = 1;
