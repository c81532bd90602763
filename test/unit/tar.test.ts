import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bytesOf, filesInTar } from '../../runtime/src/browser/tar.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('tar');
const long = 'a'.repeat(90);
const files: Readonly<Record<string, string>> = {
  'manifest.json': '{}',
  empty: '',
  'weights/some.bin': 'w'.repeat(5000),
  [`${long}/${long}`]: 'of a path that takes both fields',
};
mkdirSync(join(folder, 'in', 'weights'), { recursive: true });
mkdirSync(join(folder, 'in', long), { recursive: true });
for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, 'in', name), text);

const archive = (format: string): Buffer<ArrayBuffer> => {
  const file = join(folder, `${format}.tar`);
  execFileSync('tar', [`--format=${format}`, '-cf', file, '-C', join(folder, 'in'), '.']);
  return readFileSync(file);
};

test('finds the files of an archive, with their content', async () => {
  const found = await filesInTar(new Blob([archive('ustar')]));
  assert.equal([...found.keys()].sort(), Object.keys(files).sort());
  for (const [name, text] of Object.entries(files)) assert.is(await found.get(name)!.text(), text);
});

test('what is none, and what was cut short, is refused', async () => {
  const whole = archive('ustar');
  for (const bytes of [
    Buffer.alloc(0),
    Buffer.alloc(2048, 'x'),
    ...[2600, 5000, 7168].map((n) => whole.subarray(0, n)),
  ]) {
    const error = await refusal(() => filesInTar(new Blob([new Uint8Array(bytes)])));
    assert.match(error.message, /no tar archive, or it was cut short/);
  }
});

test('what else models are in is told by its name', async () => {
  for (const [begin, message] of [
    [Buffer.from('GGUF\x03'), 'the file is a model that is not compiled'],
    [Buffer.of(0x1f, 0x8b, 8), 'the file is compressed'],
    [Buffer.from('PK\x03\x04'), 'the file is a zip archive'],
  ] as const) {
    const error = await refusal(() => filesInTar(new Blob([begin, Buffer.alloc(2000)])));
    assert.is(error.message, message);
  }
});

test('what the browser cannot read is told', async () => {
  class Gone extends Blob {
    override arrayBuffer(): Promise<ArrayBuffer> {
      return Promise.reject(new Error('it was moved'));
    }
  }
  const { message } = await refusal(() => bytesOf(new Gone([])));
  assert.is(message, 'the file cannot be read: it was moved');
});

test.run();
