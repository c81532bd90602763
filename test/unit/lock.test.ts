import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { withLock } from '../../compiler/build/lock.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('lock');
let count = 0;
const fresh = () => join(folder, `${count++}.lock`);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The id of a process that has ended. */
const deadProcess = () => spawnSync(process.execPath, ['-e', '']).pid;

test('holds the file while it works, and gives back the result', async () => {
  const file = fresh();
  const result = await withLock(file, async () => existsSync(file));
  assert.is(result, true);
  assert.not.ok(existsSync(file));
});

test('an error passes through, and the lock is given back', async () => {
  const file = fresh();
  const failing = withLock(file, async () => {
    throw new Error('it failed');
  });
  await failing.then(
    () => assert.unreachable(),
    (error) => assert.is(error.message, 'it failed'),
  );
  assert.not.ok(existsSync(file));
});

test('several at once take turns, and hear that they wait once each', async () => {
  const file = fresh();
  let [inside, waits] = [0, 0];
  const work = async () => {
    assert.is(++inside, 1);
    await sleep(20);
    inside--;
  };
  await Promise.all([1, 2, 3].map(() => withLock(file, work, { onWait: () => waits++ })));
  assert.is(waits, 2);
  assert.equal(
    readdirSync(folder).filter((name) => name.startsWith(file)),
    [],
  );
});

test('the lock of a dead process is taken over, by one of several waiters at a time', async () => {
  const file = fresh();
  writeFileSync(file, `${hostname()} ${deadProcess()}`);
  let inside = 0;
  const work = async () => {
    assert.is(++inside, 1);
    await sleep(150);
    inside--;
  };
  await Promise.all([1, 2, 3].map(() => withLock(file, work)));
  assert.equal(readdirSync(folder), []);
});

test('the lock of a process that was killed before it wrote its name is taken over in the end', async () => {
  const file = fresh();
  writeFileSync(file, '');
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(file, longAgo, longAgo);
  assert.is(await withLock(file, async () => 'done'), 'done');
});

test('a lock that nobody has refreshed for long is taken over, whatever process has its number now', async () => {
  const file = fresh();
  writeFileSync(file, `${hostname()} ${process.pid}`);
  const longAgo = new Date(Date.now() - 60_000);
  utimesSync(file, longAgo, longAgo);
  assert.is(await withLock(file, async () => 'done'), 'done');
});

test('waiting ends when it is aborted', async () => {
  const file = fresh();
  writeFileSync(file, `${hostname()} ${process.pid}`);
  const stop = new AbortController();
  const waiting = withLock(file, async () => 'done', { onWait: () => stop.abort(), signal: stop.signal });
  await waiting.then(
    () => assert.unreachable(),
    (error) => assert.is(error.name, 'AbortError'),
  );
  assert.ok(existsSync(file));
  rmSync(file);
});

test('the lock of a living process, and that of another host, are respected', async () => {
  for (const owner of [`${hostname()} ${process.pid}`, `elsewhere ${deadProcess()}`]) {
    const file = fresh();
    writeFileSync(file, owner);
    let taken = false;
    const waiting = withLock(file, async () => {
      taken = true;
    });
    await sleep(250);
    assert.is(taken, false, owner);
    writeFileSync(file, `${hostname()} ${deadProcess()}`);
    await waiting;
    assert.is(taken, true);
  }
});

test.run();
