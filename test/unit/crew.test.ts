import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { packageRoot } from '../../package-root.ts';
import { targets } from '../../targets/index.ts';
import { temporaryFolder } from '../support/temporary.ts';

const program = join(temporaryFolder('crew'), 'crew');
const sources = [join('test', 'unit', 'crew.cpp'), join('runtime', 'native', 'engine', 'crew.cpp')];
const { command } = await findCompiler(targets.find(({ id }) => id === 'ref')!);
const [compiler, ...before] = command.split(' ');
const flags = ['-std=c++20', '-O1', '-Wall', '-Wextra', '-I.'];
execFileSync(compiler!, [...before, ...flags, ...sources, '-o', program], { cwd: packageRoot() });

interface Phase {
  readonly steps: number;
  /** On 1, 2, 4 ... threads: seconds of a step, and the share of them that a thread runs. */
  readonly machine: readonly (readonly [seconds: number, running: number])[];
}

/** Of each phase: the threads at its end, and the share of its steps that they ran. */
function play(most: number, ...phases: readonly Phase[]): { threads: number; share: number }[] {
  const texts = phases.map(({ steps, machine }) => [steps, ...machine.map((one) => one.join(','))].join(':'));
  const lines = execFileSync(program, [String(most), ...texts], { encoding: 'utf8' })
    .trim()
    .split('\n');
  return lines.map((line, i) => {
    const [threads, ran, ofMany] = line.split(' ').map(Number);
    assert.is(ofMany, most, 'steps of many tokens have all threads');
    return { threads: threads!, share: ran! / phases[i]!.steps };
  });
}

test('a machine that is ours is used whole, always', () => {
  const free = [
    [0.02, 1],
    [0.01, 0.99],
  ] as const;
  assert.equal(play(2, { steps: 10_000, machine: free }), [{ threads: 2, share: 1 }]);
  assert.equal(play(1, { steps: 100, machine: [[0.02, 0.3]] }), [{ threads: 1, share: 1 }]);
});

test('where threads wait for one another, one is left, and all are back when the machine is', () => {
  const busy = {
    steps: 2000,
    machine: [
      [0.001, 0.5],
      [0.025, 0.3],
    ],
  } as const;
  const free = {
    steps: 2000,
    machine: [
      [0.0004, 1],
      [0.0003, 1],
    ],
  } as const;
  const [first, second, third] = play(2, busy, free, busy);
  assert.is(first!.threads, 1);
  assert.ok(first!.share > 0.95, `${first!.share}`);
  assert.is(second!.threads, 2);
  assert.ok(second!.share > 0.9, `${second!.share}`);
  assert.is(third!.threads, 1);
});

test('fewer threads that are no faster are given up, and not tried all the time', () => {
  const slow = [
    [0.02, 0.9],
    [0.01, 0.6],
  ] as const;
  const [only] = play(2, { steps: 20_000, machine: slow });
  assert.is(only!.threads, 2);
  assert.ok(only!.share > 0.95, `${only!.share}`);
});

test('more threads that are no faster are given up, and not tried all the time', () => {
  // One core is ours alone, the other is not.
  const half = [
    [0.001, 1],
    [0.025, 0.5],
  ] as const;
  const [only] = play(2, { steps: 20_000, machine: half });
  assert.is(only!.threads, 1);
  assert.ok(only!.share > 0.98, `${only!.share}`);
});

test('of many threads as many are left as are fastest', () => {
  const machine = [
    [0.08, 0.9],
    [0.04, 0.9],
    [0.02, 0.85],
    [0.05, 0.4],
  ] as const;
  assert.is(play(8, { steps: 2000, machine })[0]!.threads, 4);
});

test.run();
