import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type DownloadOptions,
  downloadModel,
  findModel,
  listModels,
  resolveModel,
  verifyModel,
} from '../../compiler/hub/index.ts';
import { suiteEnvironment } from '../support/environment.ts';
import { type Asked, type Fault, HubServer } from '../support/hub-server.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const bad = suite('a bad hub');
const server = await HubServer.start();
const folder = temporaryFolder('bad-hub');
suiteEnvironment(bad, {
  HF_ENDPOINT: server.endpoint,
  BITNET_MODELS: folder,
  HF_TOKEN: undefined,
  HF_HUB_OFFLINE: undefined,
});

const BYTES = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * i + 7) % 253));
const HALF = 100_000;
const patience = { attempts: 3, delayMs: 1, stallMs: 60_000 };
const NAME = 'owner/name';
const model = join(folder, 'owner', 'name');
const place = join(model, 'x.gguf');
const partials = join(model, '.bitnet', 'partial');

/** How much of a file has come, and who waits for it. */
const progress = { bytes: 0, listeners: [] as (() => void)[] };
const download = (options: DownloadOptions = {}) =>
  downloadModel(NAME, {
    patience,
    ...options,
    onProgress: (now) => {
      progress.bytes = (now.fraction ?? 0) * BYTES.length;
      for (const listener of progress.listeners) listener();
      options.onProgress?.(now);
    },
  });
/** A connection that drops after some bytes, when the file has grown to a size. */
const drop = (bytes: number, size = bytes): Fault => ({
  dropAfter: bytes,
  until: () =>
    new Promise((resolve) => {
      progress.listeners.push(() => Math.round(progress.bytes) >= size && resolve());
    }),
});
const refused = (options?: DownloadOptions) => refusal(() => download(options));
/** What the requests of a kind meet, one after the other; then nothing. */
const meet = (kind: Asked['kind'], ...faults: (Fault | undefined)[]) => {
  server.fault = (asked) => (asked.kind === kind ? faults.shift() : undefined);
};
const always = (kind: Asked['kind'], fault: Fault) => {
  server.fault = (asked) => (asked.kind === kind ? fault : undefined);
};
const ranges = () => server.asked.filter(({ kind }) => kind === 'cdn').map(({ range }) => range);
const partialSizes = () =>
  (existsSync(partials) ? readdirSync(partials) : []).map((f) => statSync(join(partials, f)).size);
const isThere = () => assert.ok(readFileSync(place).equals(BYTES));
const isNotThere = () => assert.not(existsSync(place));

bad.before.each(() => {
  server.reset();
  progress.listeners.length = 0;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  server.publish(NAME, { 'x.gguf': BYTES, 'README.md': 'read me' });
});
bad.after(() => server.stop());

bad('a connection that drops is taken up where it ended', async () => {
  meet('cdn', drop(HALF), drop(50_000, HALF + 50_000));
  const retries: string[] = [];
  await download({ onProgress: ({ message }) => /again/.test(message) && retries.push(message) });
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`, `bytes=${HALF + 50_000}-`]);
  assert.is(retries.length, 2);
  assert.match(retries[0], /the connection to 127\.0\.0\.1:\d+ failed: .*; trying again in 1 s/);
});

bad('what has arrived is kept for another day', async () => {
  meet('cdn', drop(HALF), { status: 500 }, { status: 503 });
  const error = await refused();
  assert.match(error.message, /answers 503; tried 3 times/);
  assert.match(error.hint!, /what has arrived is kept/);
  isNotThere();
  assert.equal(partialSizes(), [HALF]);
  const [{ name, record, unfinishedBytes }] = await listModels();
  assert.equal([name, record, unfinishedBytes], [NAME, undefined, HALF]);
  for (const work of [() => resolveModel(NAME), () => verifyModel(NAME), () => download({ offline: true })]) {
    assert.match((await refusal(work)).message, /has not been downloaded completely/);
  }
  server.asked.length = 0;
  await download();
  isThere();
  assert.equal(ranges(), [`bytes=${HALF}-`]);
  assert.equal(partialSizes(), []);
});

bad('a body that ends too early is no whole file', async () => {
  meet('cdn', { endAfter: HALF });
  await download();
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`]);
  rmSync(model, { recursive: true });
  always('cdn', { endAfter: 0 });
  assert.match((await refused()).message, /x\.gguf ended after 0 of 200000 bytes; tried 3 times/);
  isNotThere();
});

bad('a server without ranges sends everything again', async () => {
  meet('cdn', drop(HALF), { ignoreRange: true });
  await download();
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`]);
});

bad('a server without ranges that always drops is given up', async () => {
  always('cdn', { ignoreRange: true, dropAfter: HALF });
  assert.match((await refused()).message, /tried 3 times/);
  assert.is(ranges().length, 3);
});

bad('416 and a range that was not asked for begin anew', async () => {
  meet('cdn', drop(HALF), { status: 416 });
  await download();
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`, undefined]);
  rmSync(model, { recursive: true });
  server.asked.length = 0;
  meet('cdn', drop(HALF), { headers: { 'Content-Range': 'bytes 5-9/200000' } });
  await download();
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`, undefined]);
});

bad('wrong bytes are tried once more, and never kept', async () => {
  const wrong = Buffer.from(BYTES);
  wrong[199_999] ^= 1;
  meet('cdn', { body: wrong });
  await download();
  isThere();
  rmSync(model, { recursive: true });
  always('cdn', { body: wrong });
  server.asked.length = 0;
  const error = await refused();
  assert.match(
    error.message,
    /x\.gguf is not what was announced: its sha256 checksum is [0-9a-f]{64}, not [0-9a-f]{64}/,
  );
  assert.equal(ranges(), [undefined, undefined]);
  isNotThere();
  assert.equal(partialSizes(), [0]);
});

bad('wrong bytes of a small file are found by its git id', async () => {
  always('resolve', { body: 'read me!'.slice(1) });
  const error = await refused({ files: ['README.md'] });
  assert.match(error.message, /README\.md is not what was announced: its git checksum is [0-9a-f]{40}/);
  assert.not(existsSync(join(model, 'README.md')));
});

bad('never writes more than was announced', async () => {
  always('cdn', { body: Buffer.alloc(5_000_000) });
  assert.match((await refused()).message, /not what was announced: more than 200000 bytes/);
  assert.equal(partialSizes(), [0]);
});

bad('a file that changes between two tries is begun anew', async () => {
  meet('cdn', drop(HALF), { status: 404 });
  assert.match((await refused()).message, /has no model owner\/name/);
  assert.equal(partialSizes(), [HALF]);
  const other = Buffer.from(BYTES).reverse();
  server.publish(NAME, { 'x.gguf': other });
  server.asked.length = 0;
  await download();
  assert.ok(readFileSync(place).equals(other));
  assert.equal(ranges(), [undefined]);
  assert.equal(partialSizes(), []);
});

bad('a partial file that was damaged is found out', async () => {
  meet('cdn', drop(HALF), { status: 404 });
  await refused();
  const [name] = readdirSync(partials);
  writeFileSync(join(partials, name), Buffer.alloc(HALF));
  server.asked.length = 0;
  await download();
  isThere();
  assert.equal(ranges(), [`bytes=${HALF}-`, undefined]);
  rmSync(place);
  mkdirSync(partials, { recursive: true });
  writeFileSync(join(partials, name), Buffer.alloc(BYTES.length + 1));
  await download();
  isThere();
});

bad('a server that falls silent is left, and asked again', async () => {
  meet('cdn', { stallAfter: HALF });
  await download({ patience: { ...patience, stallMs: 1000 } });
  isThere();
  assert.equal(ranges(), [undefined, `bytes=${HALF}-`]);
  always('info', { body: '{"a":1}', stallAfter: 3 });
  const error = await refused({ patience: { ...patience, stallMs: 50 } });
  assert.match(error.message, /has sent nothing for 0\.05 s; tried 3 times/);
});

bad('a busy server is asked again as late as it says', async () => {
  meet('info', { status: 429, headers: { 'Retry-After': '1' } });
  const retries: string[] = [];
  await download({ onProgress: ({ message }) => /again/.test(message) && retries.push(message) });
  assert.equal(retries.length, 1);
  assert.match(retries[0], /answers 429; trying again in 1 s/);
  isThere();
});

const ANSWERS: [string, Fault, RegExp, RegExp][] = [
  ['401', { status: 401 }, /no model owner\/name, or it is not for you/, /--token/],
  ['403', { status: 403 }, /not for you to see \(status 403\)/, /--token/],
  ['404', { status: 404 }, /has no model/, /check the name/],
  ['gated', { status: 403, headers: { 'X-Error-Code': 'GatedRepo' } }, /is gated/, /accept its conditions at http/],
  ['revision', { status: 404, headers: { 'X-Error-Code': 'RevisionNotFound' } }, /no revision 'main'/, /./],
  ['500', { status: 500 }, /answers 500; tried 3 times/, /HF_ENDPOINT/],
  ['418', { status: 418 }, /answers 418 to a request for owner\/name/, /./],
  ['no JSON', { body: '<html>' }, /does not answer as the Hugging Face Hub/, /HF_ENDPOINT/],
  ['null', { body: 'null' }, /does not answer as the Hugging Face Hub/, /./],
  ['an empty object', { body: '{}' }, /does not answer as the Hugging Face Hub/, /./],
  ['a commit that is none', { body: '{"sha":"../../x"}' }, /does not answer as the Hugging Face Hub/, /./],
  ['too much', { body: Buffer.alloc((16 << 20) + 1, 32) }, /longer than 16777216 bytes/, /./],
];
for (const [what, fault, message, hint] of ANSWERS) {
  bad(`an answer that is of no use: ${what}`, async () => {
    always('info', fault);
    const error = await refused();
    assert.match(error.message, message);
    assert.match(error.hint ?? '.', hint);
    assert.not(existsSync(place));
  });
}

const ENTRIES: [string, Record<string, unknown>, RegExp][] = [
  ['a size below zero', { size: -1, lfs: undefined }, /does not answer as/],
  ['a size that is none', { size: '5', lfs: undefined }, /does not answer as/],
  ['no checksum', { oid: undefined }, /does not answer as/],
  ['a checksum that is a path', { lfs: { oid: '../../../x', size: 1 } }, /does not answer as/],
  ['a path upwards', { path: '../../x.gguf' }, /not safe to write/],
  ['an absolute path', { path: '/tmp/x.gguf' }, /not safe to write/],
  ['a Windows path', { path: 'C:\\x.gguf' }, /not safe to write/],
  ['a path into our notes', { path: '.bitnet/x.gguf' }, /not safe to write/],
  ['a device', { path: 'nul.gguf' }, /not safe to write/],
  ['an unknown type', { type: 'symlink' }, /does not answer as/],
  [
    'more than any disk',
    { lfs: { oid: 'a'.repeat(64), size: 2 ** 52 } },
    /MiB are to come, but the disk .* has room for/,
  ],
];
for (const [what, change, message] of ENTRIES) {
  bad(`a listing that lies: ${what}`, async () => {
    server.tamper = (entry) => (entry.path === 'x.gguf' ? { ...entry, ...change } : entry);
    assert.match((await refused()).message, message);
    assert.equal(partialSizes(), []);
    assert.equal(
      readdirSync(folder).filter((entry) => !['.locks', 'owner'].includes(entry)),
      [],
    );
  });
}

bad('a listing without an end', async () => {
  always('tree', { headers: { Link: `<${server.endpoint}/api/models/${NAME}/tree/main>; rel="next"` } });
  assert.match((await refused()).message, /lists files without an end/);
});

bad('nobody listens', async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  const error = await refused({ endpoint: `http://127.0.0.1:${port}` });
  assert.match(
    error.message,
    new RegExp(`the connection to 127\\.0\\.0\\.1:${port} failed: .*ECONNREFUSED.*; tried 3 times`),
  );
});

bad('an address and a token that cannot be', async () => {
  for (const endpoint of ['huggingface.co', 'ftp://x', 'http://x/?a', 'http://user:secret@x']) {
    assert.match((await refused({ endpoint })).message, /no address of a Hub/, endpoint);
  }
  const { message } = await refused({ token: 'hf_sec\nret' });
  assert.match(message, /characters that no token has/);
  assert.not.match(message, /sec/);
  assert.match((await refusal(() => downloadModel('../x'))).message, /is not the name of a model/);
});

bad('an abort ends a download at once, with its reason, and what came stays', async () => {
  const stop = new AbortController();
  const reason = new Error('enough');
  always('cdn', { stallAfter: HALF });
  const onProgress = ({ fraction = 0 }) => fraction >= HALF / BYTES.length && stop.abort(reason);
  const ended = await download({ signal: stop.signal, onProgress }).catch((error) => error);
  assert.is(ended, reason);
  isNotThere();
  assert.equal(partialSizes(), [HALF]);
  assert.is(await download({ signal: stop.signal }).catch((error) => error), reason);
});

bad('an abort ends the waiting between two tries', async () => {
  const stop = new AbortController();
  const reason = new Error('enough');
  always('info', { status: 429, headers: { RateLimit: '"api";r=0;t=100' } });
  const onProgress = ({ message }: { message: string }) => /again in 100 s/.test(message) && stop.abort(reason);
  assert.is(await download({ signal: stop.signal, onProgress }).catch((error) => error), reason);
});

bad('a record that is damaged makes the model incomplete, and is made anew', async () => {
  await download();
  for (const text of [
    '',
    '{',
    '{}',
    JSON.stringify({ ...(await findModel(NAME)).record, files: [{ path: '../x' }] }),
  ]) {
    writeFileSync(join(model, '.bitnet', 'model.json'), text);
    assert.is((await findModel(NAME)).record, undefined);
    assert.match((await refusal(() => resolveModel(NAME))).message, /not been downloaded completely/);
    server.asked.length = 0;
    assert.is((await download()).fetchedBytes, 0);
    assert.equal(ranges(), []);
    assert.is(await resolveModel(NAME), place);
  }
});

bad('an update that ends between its files leaves no model of two revisions', async () => {
  server.publish(NAME, { 'config.json': '{}', 'model.safetensors': BYTES });
  await download();
  const weights = join(model, 'model.safetensors');
  rmSync(weights);
  mkdirSync(join(weights, 'in the way'), { recursive: true });
  server.publish(NAME, { 'config.json': '{"new":1}', 'model.safetensors': Buffer.from(BYTES).reverse() });
  assert.match((await refused()).message, /EISDIR|ENOTEMPTY|EEXIST|EPERM/);
  assert.is((await findModel(NAME)).record, undefined);
  assert.match((await refusal(() => resolveModel(NAME))).message, /not been downloaded completely/);
  rmSync(weights, { recursive: true });
  server.asked.length = 0;
  await download();
  assert.equal(ranges(), []);
  assert.ok((await verifyModel(NAME)).every(({ problem }) => problem === undefined));
});

bad('a folder that cannot be written', async () => {
  writeFileSync(join(folder, 'owner'), 'a file in the way');
  const error = await refused();
  assert.match(error.message, /EEXIST|ENOTDIR/);
  assert.match(error.hint!, /BITNET_MODELS/);
});

/** A file system of a few pages; undefined where we may not mount one. */
function smallDisk(): string | undefined {
  const disk = temporaryFolder('small-disk');
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk], { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  process.prependListener('exit', () => execFileSync('umount', ['-l', disk], { stdio: 'ignore' }));
  return disk;
}

const disk = smallDisk();
(disk ? bad : bad.skip)(`a disk that fills up${disk ? '' : ' (skipped: no right to mount a tmpfs)'}`, async () => {
  process.env.BITNET_MODELS = disk;
  try {
    const filler = join(disk!, 'filler');
    always('cdn', { before: () => writeFileSync(filler, Buffer.alloc(150_000)) });
    const error = await refused();
    assert.match(error.message, /ENOSPC/);
    assert.match(error.hint!, /make room and try again: what has arrived is kept/);
    const [unfinished] = await listModels();
    assert.ok(unfinished.unfinishedBytes > 0 && unfinished.unfinishedBytes < BYTES.length);
    assert.equal(readdirSync(unfinished.folder), ['.bitnet']);

    server.reset();
    assert.match((await refused()).message, /1 MiB are to come, but the disk .* has room for/);
    assert.equal(ranges(), []);

    rmSync(filler);
    const { path } = await download();
    assert.ok(readFileSync(path).equals(BYTES));
    assert.equal(ranges(), [`bytes=${unfinished.unfinishedBytes}-`]);
  } finally {
    process.env.BITNET_MODELS = folder;
  }
});

bad.run();
