import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SHAPES, synthesize } from '../../bench/shapes/index.ts';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { type ConvertOptions, convert, repair, verifyFile } from '../../compiler/index.ts';
import { fixture, start } from '../cli/invoke.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const bad = suite('conversion of what cannot be');
const folder = temporaryFolder('convert-bad');
const B158 = fixture('b158-i2s.gguf');
const whole = readFileSync(B158);

/** Converts and expects a refusal that leaves an older result alone, and nothing beside it. */
async function refused(input: string, options: ConvertOptions = { to: 'gguf' }) {
  const place = join(folder, 'place');
  mkdirSync(place, { recursive: true });
  const output = join(place, 'model.gguf');
  writeFileSync(output, 'an older model');
  const error = await refusal(() => convert(input, output, options));
  assert.equal(readdirSync(place), ['model.gguf']);
  assert.is(readFileSync(output, 'utf8'), 'an older model');
  return error;
}

bad('a file cut off anywhere is refused', async () => {
  const { tensors, headerBytes } = await readGguf(B158);
  const ends = tensors.map(({ offset, bytes }) => offset + bytes!);
  const lengths = [0, 3, 4, 8, 24, 100, headerBytes - 1, headerBytes, ...ends.flatMap((end) => [end - 1, end - 40])];
  const path = join(folder, 'cut.gguf');
  for (const length of lengths) {
    writeFileSync(path, whole.subarray(0, length));
    await refused(path);
  }
});

bad('a Hugging Face folder with a file cut off is refused', async () => {
  const original = join(folder, 'whole');
  await convert(B158, original, { to: 'safetensors' });
  for (const name of ['model.safetensors', 'config.json', 'tokenizer.json']) {
    for (const part of [0, 0.3, 1]) {
      const copy = join(folder, 'cut');
      cpSync(original, copy, { recursive: true });
      // A JSON file without its last line break is whole.
      truncateSync(join(copy, name), Math.floor((readFileSync(join(copy, name)).length - 2) * part));
      await refused(copy);
    }
  }
});

bad('a code that is not ternary is refused with its tensor', async () => {
  const file = Buffer.from(whole);
  const { offset } = (await readGguf(B158)).tensors.find(({ name }) => name === 'blk.1.ffn_up.weight')!;
  file[offset + 64] = 0xff;
  const path = join(folder, 'three.gguf');
  writeFileSync(path, file);
  assert.match((await refused(path)).message, /tensor blk\.1\.ffn_up\.weight: weight 256 .* code 3/);
});

bad('what is no model is refused', async () => {
  await refused(fixture('b158-i2s.json'));
  await refused(join(folder, 'missing.gguf'));
});

bad('a pipe is refused, not waited for', async () => {
  const pipe = join(folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  assert.match((await refused(pipe)).message, /pipe is not a file/);
  assert.match((await refusal(() => repair(pipe, join(folder, 'mended.gguf')))).message, /pipe is not a file/);
  assert.match((await verifyFile(pipe)).findings[0].problem, /pipe is not a file/);
  await refused('/dev/null');
});

bad('tensors that share bytes are refused', async () => {
  const file = Buffer.from(whole);
  const info = file.indexOf('blk.1.ffn_down.weight') + 'blk.1.ffn_down.weight'.length + 4 + 2 * 8 + 4;
  file.writeBigUInt64LE(file.readBigUInt64LE(info) - 32n, info);
  const path = join(folder, 'overlapping.gguf');
  writeFileSync(path, file);
  assert.match((await refused(path)).message, /blk\.1\.ffn_down\.weight begin inside those of blk\.1\.ffn_up\.weight/);
  await refusal(() => repair(path, join(folder, 'mended.gguf')));
});

bad('a folder in the way is left as it is', async () => {
  const place = join(folder, 'in-the-way');
  const output = join(place, 'model.gguf');
  const tiles = `${output}.ini`;
  mkdirSync(tiles, { recursive: true });
  writeFileSync(join(tiles, 'thesis.txt'), 'years of work');
  const message = /is a folder, but the result is one file/;
  assert.match((await refusal(() => convert(B158, output, { to: 'gguf', type: 'tl1' }))).message, message);
  const broken = join(folder, 'broken.gguf');
  const key = whole.indexOf('bitnet-b1.58.embedding_length');
  // A key of another name is one that is missing.
  const file = Buffer.from(whole);
  file.write('x', key);
  writeFileSync(broken, file);
  assert.match((await refusal(() => repair(broken, tiles))).message, message);
  assert.equal(readdirSync(place), ['model.gguf.ini']);
  assert.equal(readdirSync(tiles), ['thesis.txt']);
});

bad('what comes into a folder while its successor is made is not lost', async () => {
  const place = join(folder, 'replaced');
  await convert(B158, place, { to: 'safetensors' });
  const late = () => writeFileSync(join(place, 'thesis.txt'), 'years of work');
  const error = await refusal(() => convert(B158, place, { to: 'safetensors', onProgress: late }));
  assert.match(error.message, /holds thesis\.txt, which would be lost/);
  assert.ok(existsSync(join(place, 'thesis.txt')));
  assert.not(readdirSync(folder).some((name) => name.includes('.partial') || name.includes('.old')));
});

bad('a place that cannot be written to is named as it was given', async () => {
  for (const to of ['gguf', 'safetensors'] as const) {
    const output = join(folder, 'no', 'such', 'model');
    const { message, hint } = await refusal(() => convert(B158, output, { to }));
    assert.match(message, `cannot write ${output}: there is no folder ${join(folder, 'no', 'such')}`);
    assert.match(hint!, /make the folder/);
  }
});

bad('a byte-level tokenizer without merges is none that SafeTensors folders have', async () => {
  const file = Buffer.from(whole);
  file.write('x', file.indexOf('tokenizer.ggml.merges'));
  const path = join(folder, 'no-merges.gguf');
  writeFileSync(path, file);
  assert.match((await refused(path, { to: 'safetensors' })).message, /byte-level BPE without merges/);
});

/** Runs `use` with the path of a disk of that many KiB. */
async function withDisk(kib: number, use: (path: string) => Promise<void>): Promise<void> {
  const path = join(folder, `disk-${kib}`);
  mkdirSync(path);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'none', path], { stdio: 'pipe' });
  try {
    await use(path);
  } finally {
    execFileSync('umount', [path]);
  }
}

/** Why there can be no small disk here. */
const noDisk = await withDisk(4, async () => {}).then(
  () => undefined,
  (error: Error) => error.message.split('\n')[0],
);

/** Sizes that the disk is full at: in the header, in the tensors, with the last of them. */
for (const kib of [8, 200, 500]) {
  if (noDisk !== undefined) {
    bad.skip(`a full disk of ${kib} KiB: a small disk needs the right to mount one: ${noDisk}`, () => {});
    continue;
  }
  bad(`a full disk of ${kib} KiB leaves nothing`, () =>
    withDisk(kib, async (path) => {
      for (const options of [{ to: 'gguf' }, { to: 'gguf', type: 'tl2' }, { to: 'safetensors' }] as const) {
        const error = await refusal(() => convert(B158, join(path, 'model'), options));
        assert.match(error.message, /ENOSPC/);
        assert.match(error.hint!, /room/);
        assert.equal(readdirSync(path), []);
      }
    }),
  );
}

bad('Ctrl-C ends a conversion with 130 and leaves nothing', async () => {
  const model = join(folder, 'long.gguf');
  await synthesize(SHAPES.tiny!, model, { layers: 60 });
  const place = join(folder, 'interrupted');
  for (const argv of [
    ['--to', 'gguf', '--type', 'tq1_0'],
    ['--to', 'safetensors'],
  ]) {
    mkdirSync(place, { recursive: true });
    const { child, ended } = start(['convert', model, join(place, 'out'), ...argv]);
    // It is writing when its temporary file or folder is there.
    while (readdirSync(place).length === 0 && child.exitCode === null)
      await new Promise((again) => setTimeout(again, 2));
    child.kill('SIGINT');
    const { code, stderr } = await ended;
    assert.is(code, 130, stderr);
    assert.equal(readdirSync(place), []);
  }
  assert.ok(existsSync(model));
});

bad.run();
