import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { suiteEnvironment } from '../support/environment.ts';
import { HubServer } from '../support/hub-server.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { fixture, invoke, start } from './invoke.ts';

const models = suite('bitnet model');
const server = await HubServer.start();
const folder = temporaryFolder('model-command');
suiteEnvironment(models, {
  HF_ENDPOINT: server.endpoint,
  BITNET_MODELS: folder,
  HF_TOKEN: undefined,
  HF_HUB_OFFLINE: undefined,
});

const GGUF = readFileSync(fixture('b158-i2s.gguf'));
const NAME = 'owner/tiny-b1.58';
const path = join(folder, NAME, 'tiny.gguf');
const commit = server.publish(NAME, { 'tiny.gguf': GGUF, 'README.md': 'read me' });
const cdn = () => server.asked.filter(({ kind }) => kind === 'cdn');

models.before.each(() => server.reset());
models.after(() => server.stop());

models('explains itself', async () => {
  const { code, stdout } = await invoke(['model', '--help']);
  assert.is(code, 0);
  for (const command of ['list', 'download', 'verify', 'remove']) {
    assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
    const help = await invoke(['model', command, '--help']);
    assert.is(help.code, 0);
    assert.match(help.stdout, new RegExp(`Examples:\\n.*bitnet model ${command}`));
  }
});

const WRONG: [string[], RegExp][] = [
  [['model'], /Usage: bitnet model/],
  [['model', 'fetch'], /unknown command 'fetch'/],
  [['model', 'download'], /missing required argument 'name'\nusage: bitnet model download /],
  [['model', 'download', 'a/b', '--nope'], /unknown option '--nope'/],
  [['model', 'remove'], /missing required argument/],
];
for (const [argv, message] of WRONG) {
  models(`ends with 2 for ${argv.join(' ')}`, async () => {
    const { code, stderr } = await invoke(argv);
    assert.is(code, 2);
    assert.match(stderr, message);
  });
}

models('says that there are none', async () => {
  assert.equal(await invoke(['model', 'list']), { code: 0, stdout: '', stderr: `no models in ${folder}\n` });
  assert.is((await invoke(['model', 'list', '--json'])).stdout, '[]\n');
});

models('downloads, and says where it is and what runs it', async () => {
  const { code, stdout, stderr } = await invoke(['model', 'download', NAME]);
  assert.is(code, 0);
  assert.is(stdout, `${path}\n`);
  assert.match(stderr, /^downloaded .* KiB: owner\/tiny-b1\.58, 1 file, .* KiB, all checked$/m);
  assert.match(stderr, /^run it with: bitnet run owner\/tiny-b1\.58 -p/m);
  assert.match((await invoke(['model', 'download', NAME])).stderr, /^up to date: owner\/tiny-b1\.58/m);
});

models('prints JSON', async () => {
  const downloaded = JSON.parse((await invoke(['model', 'download', NAME, '--json', '--offline'])).stdout);
  assert.is(downloaded.path, path);
  assert.is(downloaded.runsAs, NAME);
  assert.is(downloaded.fetchedBytes, 0);
  const [listed] = JSON.parse((await invoke(['model', 'list', '--json'])).stdout);
  assert.equal(
    [listed.name, listed.complete, listed.revision, listed.commit, listed.format, listed.bytes, listed.unfinishedBytes],
    [NAME, true, 'main', commit, 'gguf', GGUF.length, 0],
  );
  assert.is(listed.files[0].path, 'tiny.gguf');
  const checked = JSON.parse((await invoke(['model', 'verify', NAME, '--json'])).stdout);
  assert.is(checked.ok, true);
  assert.is(server.asked.length, 0);
});

models('lists in a table', async () => {
  const { stdout } = await invoke(['model', 'list']);
  const row = `^owner/tiny-b1\\.58 +${commit.slice(0, 8)} +gguf +1 +[\\d.]+ KiB +\\d{4}-\\d\\d-\\d\\d$`;
  assert.match(stdout, new RegExp(row, 'm'));
});

models('other commands take the name of a downloaded model', async () => {
  const inspected = await invoke(['inspect', NAME]);
  assert.is(inspected.code, 0);
  assert.match(inspected.stdout, /^general\.architecture +string +bitnet-b1\.58$/m);
  const dumped = await invoke(['compile', NAME, '--dump=plan']);
  assert.is(JSON.parse(dumped.stdout).architecture, 'bitnet-b1.58');
  assert.is((await invoke(['explain', `${NAME}/tiny.gguf`])).code, 0);
  for (const argv of [
    ['compile', 'owner/none'],
    ['run', 'owner/none', '-p', 'x'],
    ['inspect', 'owner/none'],
  ]) {
    const { code, stderr } = await invoke(argv);
    assert.is(code, 1);
    assert.match(
      stderr,
      /no file owner\/none, and no downloaded .*\nhint: bitnet model download owner\/none fetches it/,
    );
  }
});

models('verify tells of damage, and ends with 1', async () => {
  const damaged = Buffer.from(GGUF);
  damaged[damaged.length - 1] ^= 1;
  writeFileSync(path, damaged);
  const { code, stdout, stderr } = await invoke(['model', 'verify', NAME]);
  assert.is(code, 1);
  assert.match(stdout, /^tiny\.gguf .*its bytes have changed$/m);
  assert.match(stderr, /1 of 1 files of owner\/tiny-b1\.58 are not as they came\nhint: bitnet model download owner/);
  assert.match((await invoke(['model', 'download', NAME, '--offline'])).stderr, /tiny\.gguf of .* is damaged/);
  assert.is((await invoke(['model', 'download', NAME])).code, 0);
  assert.is((await invoke(['model', 'verify', NAME])).code, 0);
});

models('ends with 1 and a hint where the Hub refuses', async () => {
  const none = await invoke(['model', 'download', 'owner/none']);
  assert.is(none.code, 1);
  assert.match(none.stderr, /^error: 127\.0\.0\.1:\d+ has no model owner\/none.*\nhint: .*--token or HF_TOKEN/);
  server.fault = ({ authorization }) => (authorization === 'Bearer hf_x' ? undefined : { status: 401 });
  assert.is((await invoke(['model', 'download', NAME, '--token', 'hf_x'])).code, 0);
  const readme = await invoke(['model', 'download', NAME, '--token', 'hf_x', '--file', 'none.gguf']);
  assert.match(readme.stderr, /has no file none\.gguf\nhint: it has tiny\.gguf, README\.md/);
});

models('removes a model, by its exact name only', async () => {
  const wrong = await invoke(['model', 'remove', 'owner/tiny']);
  assert.is(wrong.code, 1);
  assert.match(wrong.stderr, /no model owner\/tiny has been downloaded\nhint: bitnet model list/);
  assert.match((await invoke(['model', 'remove', NAME])).stderr, /^removed owner\/tiny-b1\.58: [\d.]+ KiB/);
  assert.not(existsSync(join(folder, NAME)));
  assert.is((await invoke(['model', 'list', '--json'])).stdout, '[]\n');
});

const HALF = GGUF.length >> 1;
const partials = join(folder, NAME, '.bitnet', 'partial');

/** Starts a download that stops coming half way, and waits until that half is on the disk. */
async function startHalf() {
  server.fault = ({ kind }) => (kind === 'cdn' ? { stallAfter: HALF } : undefined);
  const started = start(['model', 'download', NAME]);
  const half = () =>
    existsSync(partials) && readdirSync(partials).some((file) => statSync(join(partials, file)).size >= HALF);
  while (!half() && started.child.exitCode === null) await setTimeout(10);
  server.reset();
  return started;
}

for (const signal of ['SIGINT', 'SIGKILL'] as const) {
  models(`a process that ends by ${signal} leaves what the next one goes on with`, async () => {
    const { child, ended } = await startHalf();
    child.kill(signal);
    const { code, stderr } = await ended;
    assert.is(code, signal === 'SIGINT' ? 130 : null);
    assert.not.match(stderr, /error/);
    assert.not(existsSync(path));
    assert.match((await invoke(['model', 'list'])).stdout, /^owner\/tiny-b1\.58 +not complete/m);
    assert.is((await invoke(['model', 'download', NAME])).code, 0);
    assert.equal(
      cdn().map(({ range }) => range),
      [`bytes=${HALF}-`],
    );
    assert.ok(readFileSync(path).equals(GGUF));
    await invoke(['model', 'remove', NAME]);
  });
}

models('two processes that want the same model bring it once', async () => {
  const both = [1, 2].map(() => start(['model', 'download', NAME]).ended);
  for (const { code, stderr } of await Promise.all(both)) assert.is(code, 0, stderr);
  assert.is(cdn().length, 1);
  assert.ok(readFileSync(path).equals(GGUF));
});

models.run();
