import { createHash } from 'node:crypto';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { fileFingerprint, sha256 } from '../../compiler/build/fingerprint.ts';
import { suiteEnvironment } from '../support/environment.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('fingerprint');
const fingerprint = suite('fingerprint');
suiteEnvironment(fingerprint, { BITNET_CACHE: join(folder, 'cache') });

const digest = (text: string) => createHash('sha256').update(text).digest('hex');

fingerprint('the digest of a file, which is read once as long as it stays the same', async () => {
  const file = join(folder, 'model');
  writeFileSync(file, 'one');
  let bytes = 0;
  const onBytes = (count: number) => {
    bytes += count;
  };
  assert.is(await fileFingerprint(file, onBytes), digest('one'));
  assert.is(await fileFingerprint(file, onBytes), digest('one'));
  assert.is(bytes, 3);
  writeFileSync(file, 'two');
  assert.is(await fileFingerprint(file, onBytes), digest('two'));
  assert.is(bytes, 6);
});

fingerprint('a damaged entry of the cache is not believed', async () => {
  const file = join(folder, 'other');
  writeFileSync(file, 'three');
  await fileFingerprint(file);
  const cache = join(folder, 'cache', 'fingerprints');
  for (const entry of readdirSync(cache)) {
    chmodSync(join(cache, entry), 0o644);
    writeFileSync(join(cache, entry), 'abc');
  }
  assert.is(await fileFingerprint(file), digest('three'));
});

fingerprint('parts that only differ in where they are cut have different digests', () => {
  assert.is.not(sha256('ab', 'c'), sha256('a', 'bc'));
  assert.is.not(sha256('ab'), sha256('ab', ''));
  assert.is(sha256('ab', 'c'), sha256('ab', 'c'));
});

fingerprint.run();
