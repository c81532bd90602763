import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { compile, type Progress } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { startCompile } from '../support/compile-process.ts';
import { withEnvironment } from '../support/environment.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { digestTree } from '../support/tree.ts';

const TARGET = 'ref';
const FIXTURE = join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf');
/** Long enough to be anywhere in a compilation: reading, packing, building, putting in place. */
const LONGEST_MS = 6000;

const interrupt = suite('interrupt');
const folder = temporaryFolder('interrupt');
const random = new Random(2);

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interrupt('kill -9 at any moment leaves nothing that the next compilation trips over', async () => {
  const { artifact } = await compile(FIXTURE, { target: TARGET, out: join(folder, 'undisturbed') });
  const whole = digestTree(artifact);
  const out = join(folder, 'killed');
  const cache = { BITNET_CACHE: join(folder, 'killed-cache') };
  for (const part of [0.1, 0.2, 0.35, 0.5, 0.75]) {
    const { child, outcome } = startCompile(FIXTURE, out, TARGET, cache);
    const ended = outcome.then(
      () => 'done',
      () => 'killed',
    );
    await Promise.race([ended, sleep(LONGEST_MS * (part + 0.1 * random.uniform()))]);
    // The compilation, and the compiler that it started.
    if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL');
    await ended;
  }
  const { outcome } = startCompile(FIXTURE, out, TARGET, cache);
  const after = await outcome;
  assert.equal(readdirSync(out), [basename(artifact)]);
  assert.equal(digestTree(after.artifact!), whole);
});

for (const stage of ['pack', 'build'] as const) {
  interrupt(`a compilation that is aborted in stage ${stage} leaves nothing`, async () => {
    const out = join(folder, `aborted-${stage}`);
    const stop = new AbortController();
    const abort = () => setTimeout(() => stop.abort(), stage === 'build' ? 200 : 0);
    await withEnvironment({ BITNET_CACHE: join(folder, `aborted-${stage}-cache`) }, async () => {
      const onProgress = (progress: Progress) => progress.stage === stage && abort();
      const error = await compile(FIXTURE, { target: TARGET, out, signal: stop.signal, onProgress }).then(
        () => undefined,
        (reason) => reason,
      );
      assert.is(error?.name, 'AbortError');
      assert.equal(readdirSync(out), []);
      await sleep(500);
      assert.equal(readdirSync(out), [], 'somebody still works in it');
    });
  });
}

interrupt.run();
