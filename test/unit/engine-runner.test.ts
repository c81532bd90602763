import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { KERNELS, openToy, toyArtifact, toyLibrary } from '../fixtures/toy-model/toy.ts';

const RUNNER = join(packageRoot(), 'build', 'addon', 'runner');
const folder = mkdtempSync(join(tmpdir(), 'bitnet-runner-'));
test.after(() => rmSync(folder, { recursive: true }));

const run = (...args: string[]) => execFileSync(RUNNER, args, { encoding: 'utf8' });

function failure(...args: string[]): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(RUNNER, args, { encoding: 'utf8' });
  return { status, stderr };
}

const M = 32;
const K = 32;

/** An input of the `kernel` command: q counts up, the scales of the two row groups are 0.5 and 2, y is 100 everywhere. */
function kernelInput({ tokens = 3, accumulate = 0, begin = 0, end = 2 } = {}): string {
  const parts = [
    Int32Array.of(tokens, accumulate, begin, end, M, K),
    new Uint8Array((M * K) / 4),
    Float32Array.of(0.5, 2),
    Int8Array.from({ length: tokens * K }, (_, i) => i % 8),
    new Uint8Array(tokens * 8),
    new Float32Array(tokens * M).fill(100),
  ];
  const file = join(folder, 'in.bin');
  writeFileSync(file, Buffer.concat(parts.map((part) => Buffer.from(part.buffer))));
  return file;
}

test('lists kernels and their checksums as JSON lines', () => {
  const library = toyLibrary();
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  assert.equal(lines(run('list', library))[0], { name: 'toy_sum', m: M, k: K, maxTokens: 4, scratchBytes: 64 });
  const checksums = lines(run('selftest', library, join(toyArtifact(), 'weights.bin')));
  assert.equal(
    checksums,
    KERNELS.map((name, i) => ({ name, checksum: `abcdef000000000${i}` })),
  );
});

test('writes the logits that the engine computes', async () => {
  const toy = { noise: 2 };
  const tokens = Array.from({ length: 150 }, (_, i) => (i * 7) % 30);
  const model = await openToy(toy);
  const expected = await model.logits(tokens);
  await model.dispose();
  const out = join(folder, 'logits.f32');
  const weights = join(toyArtifact(toy), 'weights.bin');
  for (const more of [[], ['--threads', '2', '--kv', 'f32', '--chunk', '7']]) {
    run('logits', toyLibrary(), weights, '--tokens', tokens.join(), '--out', out, ...more);
    assert.equal(readFileSync(out), Buffer.from(expected.data.buffer));
  }
});

test('runs one kernel on some of its row groups', () => {
  const out = join(folder, 'out.bin');
  run('kernel', toyLibrary(), 'toy_sum', kernelInput({ accumulate: 1, begin: 1 }), out);
  const bytes = readFileSync(out);
  const y = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  // The sum of 0 to 7, four times, is 112.
  const token = [...new Array(16).fill(100), ...new Array(16).fill(100 + 2 * 112)];
  assert.equal([...y], [...token, ...token, ...token]);
});

test('a kernel that reads or writes beside its buffers is caught', () => {
  const out = join(folder, 'none.bin');
  for (const [name, message] of [
    ['toy_overread', 'toy_overread touched memory outside its buffers'],
    ['toy_overrun', 'toy_overrun touched memory outside its buffers'],
    ['toy_underrun', 'toy_underrun wrote beside scratch'],
  ] as const) {
    const { status, stderr } = failure('kernel', toyLibrary(), name, kernelInput(), out);
    assert.is(status, 1);
    assert.match(stderr, message);
  }
});

test('bad input and bad arguments are refused', () => {
  const library = toyLibrary();
  const out = join(folder, 'none.bin');
  const short = join(folder, 'short.bin');
  writeFileSync(short, readFileSync(kernelInput()).subarray(0, -1));
  assert.match(failure('kernel', library, 'toy_sum', short, out).stderr, 'too short');
  assert.match(failure('kernel', library, 'toy_sum', kernelInput({ tokens: 5 }), out).stderr, 'header does not suit');
  assert.match(failure('kernel', library, 'toy_sum', kernelInput({ end: 3 }), out).stderr, 'header does not suit');
  assert.match(failure('kernel', library, 'toy_none', kernelInput(), out).stderr, 'no kernel toy_none');
  assert.is(failure('list', '/nowhere.so').status, 1);
  assert.is(failure('nonsense').status, 2);
  assert.is(failure().status, 2);
});

test.run();
