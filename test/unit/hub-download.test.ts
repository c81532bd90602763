import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  downloadModel,
  findModel,
  listModels,
  removeModel,
  resolveModel,
  verifyModel,
} from '../../compiler/hub/index.ts';
import { suiteEnvironment } from '../support/environment.ts';
import { HubServer } from '../support/hub-server.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const hub = suite('hub');
const server = await HubServer.start();
const folder = temporaryFolder('hub');
suiteEnvironment(hub, {
  HF_ENDPOINT: `${server.endpoint}/`,
  BITNET_MODELS: folder,
  HF_TOKEN: undefined,
  HF_HUB_OFFLINE: undefined,
});

const GGUF = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * i) % 251));
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const kinds = () => server.asked.map(({ kind }) => kind);

hub.before.each(() => server.reset());
hub.after(() => server.stop());

hub('downloads the GGUF of a model, and says what came', async () => {
  const commit = server.publish('owner/one', { 'README.md': 'read me', 'model.gguf': GGUF });
  const { model, path, runsAs, fetchedBytes } = await downloadModel('owner/one');
  assert.is(path, join(folder, 'owner', 'one', 'model.gguf'));
  assert.is(runsAs, 'owner/one');
  assert.is(fetchedBytes, GGUF.length);
  assert.ok(readFileSync(path).equals(GGUF));
  assert.is(model.record?.commit, commit);
  assert.is(model.record?.revision, 'main');
  assert.equal(model.record?.files, [{ path: 'model.gguf', bytes: GGUF.length, sha256: sha256(GGUF) }]);
  assert.is(model.format, 'gguf');
  assert.equal(kinds(), ['info', 'tree', 'resolve', 'cdn']);
  assert.equal(readdirSync(model.folder).sort(), ['.bitnet', 'model.gguf']);
});

hub('a second download asks for the listing only, and checks what is there', async () => {
  const before = (await findModel('owner/one')).record;
  const { fetchedBytes, model } = await downloadModel('owner/one');
  assert.is(fetchedBytes, 0);
  assert.equal(model.record, before);
  assert.equal(kinds(), ['info', 'tree']);
});

hub('brings again what has been damaged, and nothing else', async () => {
  server.publish('owner/folder', { 'config.json': '{}', 'model.safetensors': GGUF, 'tokenizer.json': '[]' });
  const { path, runsAs } = await downloadModel('owner/folder');
  assert.is(path, join(folder, 'owner', 'folder'));
  assert.is(runsAs, 'owner/folder');
  const damaged = Buffer.from(GGUF);
  damaged[1234] ^= 1;
  writeFileSync(join(path, 'model.safetensors'), damaged);
  assert.equal(
    (await verifyModel('owner/folder')).map((file) => [file.path, file.problem]),
    [
      ['config.json', undefined],
      ['tokenizer.json', undefined],
      ['model.safetensors', 'its bytes have changed'],
    ],
  );
  server.asked.length = 0;
  assert.is((await downloadModel('owner/folder')).fetchedBytes, GGUF.length);
  assert.equal(kinds(), ['info', 'tree', 'resolve', 'cdn']);
  assert.ok((await verifyModel('owner/folder')).every(({ problem }) => problem === undefined));
});

hub('verify tells of missing and of cut files', async () => {
  writeFileSync(join(folder, 'owner', 'folder', 'config.json'), '');
  rmSync(join(folder, 'owner', 'folder', 'tokenizer.json'));
  assert.equal(
    (await verifyModel('owner/folder')).map(({ problem }) => problem),
    ['it has 0 bytes, not 2', 'it is missing', undefined],
  );
});

hub('files in folders, empty ones, equal ones, and names that an address must escape', async () => {
  const files = { 'a/b c#1?.json': 'x', 'a/empty.txt': '', 'one.txt': 'same', 'two.txt': 'same', '100%.txt': 'y' };
  server.publish('owner/odd', files);
  const wanted = Object.keys(files).filter((path) => !path.includes('?'));
  const { model, path, runsAs } = await downloadModel('owner/odd', { files: wanted });
  assert.is(runsAs, undefined);
  assert.is(path, model.folder);
  assert.is(readFileSync(join(path, 'one.txt'), 'utf8') + readFileSync(join(path, 'two.txt'), 'utf8'), 'samesame');
  assert.is(readFileSync(join(path, '100%.txt'), 'utf8'), 'y');
  assert.is(readFileSync(join(path, 'a', 'empty.txt'), 'utf8'), '');
  assert.match((await refusal(() => downloadModel('owner/odd', { files: ['a/b c#1?.json'] }))).message, /not safe/);
});

hub('reads a listing of many pages', async () => {
  const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`notes/${i}.md`, String(i)]));
  server.publish('owner/pages', { ...many, 'x.gguf': GGUF });
  server.pageSize = 4;
  assert.is((await downloadModel('owner/pages')).model.record?.files[0].path, 'x.gguf');
  assert.is(kinds().filter((kind) => kind === 'tree').length, 7);
});

hub('the branch moves on: changed files come anew, the same stay, and what is gone goes', async () => {
  const first = { 'config.json': '{}', 'model.safetensors': GGUF, 'tokenizer.json': '[1]', 'added_tokens.json': 'a b' };
  server.publish('owner/moves', first);
  await downloadModel('owner/moves');
  const { 'added_tokens.json': _gone, ...rest } = first;
  const commit = server.publish('owner/moves', { ...rest, 'tokenizer.json': '[2]' });
  const { model, fetchedBytes } = await downloadModel('owner/moves');
  assert.is(fetchedBytes, 3);
  assert.is(model.record?.commit, commit);
  assert.is(readFileSync(join(model.folder, 'tokenizer.json'), 'utf8'), '[2]');
  assert.not(existsSync(join(model.folder, 'added_tokens.json')));
  assert.ok((await verifyModel('owner/moves')).every(({ problem }) => problem === undefined));
});

hub('revisions are models of their own', async () => {
  server.publish('owner/tags', { 'x.gguf': 'main' });
  server.publish('owner/tags', { 'x.gguf': 'version one' }, 'v1.0');
  const commit = server.publish('owner/tags', { 'x.gguf': 'proposal' }, 'refs/pr/1');
  await downloadModel('owner/tags');
  assert.is((await downloadModel('owner/tags', { revision: 'v1.0' })).runsAs, 'owner/tags@v1.0');
  await downloadModel('owner/tags@refs/pr/1');
  await downloadModel('owner/tags', { revision: commit });
  const contents = async (name: string) => readFileSync(await resolveModel(name), 'utf8');
  assert.is(await contents('owner/tags'), 'main');
  assert.is(await contents('owner/tags@v1.0'), 'version one');
  assert.is(await contents('owner/tags@refs/pr/1'), 'proposal');
  assert.is(await contents('owner/tags@refs/pr/1/x.gguf'), 'proposal');
  assert.is(await contents(`owner/tags@${commit}`), 'proposal');
  assert.match((await refusal(() => downloadModel('owner/tags@v2'))).message, /has no revision 'v2'/);
});

hub('files asked for one after the other', async () => {
  server.publish('owner/two', { 'x.gguf': 'xx', 'y.gguf': 'yyy' });
  assert.match((await refusal(() => downloadModel('owner/two'))).hint!, /x\.gguf, y\.gguf/);
  assert.is((await downloadModel('owner/two', { files: ['x.gguf'] })).runsAs, 'owner/two');
  const { runsAs, path } = await downloadModel('owner/two', { files: ['y.gguf'] });
  assert.is(runsAs, 'owner/two/y.gguf');
  assert.is(path, await resolveModel('owner/two/y.gguf'));
  assert.is((await downloadModel('owner/two')).runsAs, undefined);
  const which = await refusal(() => resolveModel('owner/two'));
  assert.match(which.hint!, /owner\/two\/x\.gguf, owner\/two\/y\.gguf/);
  assert.match((await refusal(() => resolveModel('owner/two/z.gguf'))).message, /z\.gguf of owner\/two has not been/);
});

hub('offline there is what has been downloaded, and nobody is asked', async () => {
  const { path } = await downloadModel('owner/one', { offline: true });
  assert.is(path, join(folder, 'owner', 'one', 'model.gguf'));
  assert.match((await refusal(() => downloadModel('owner/none', { offline: true }))).message, /we are offline/);
  const readme = await refusal(() => downloadModel('owner/one', { offline: true, files: ['README.md'] }));
  assert.match(readme.message, /README\.md of owner\/one has not been downloaded, and we are offline/);
  process.env.HF_HUB_OFFLINE = '1';
  try {
    assert.match((await refusal(() => downloadModel('owner/none'))).message, /we are offline/);
  } finally {
    delete process.env.HF_HUB_OFFLINE;
  }
  assert.equal(server.asked, []);
});

hub('a token goes to the Hub alone', async () => {
  server.publish('owner/private', { 'x.gguf': 'secret' });
  server.fault = ({ kind, authorization }) =>
    kind !== 'cdn' && authorization !== 'Bearer hf_secret' ? { status: 401 } : undefined;
  const refused = await refusal(() => downloadModel('owner/private'));
  assert.match(refused.message, /or it is not for you to see/);
  assert.match(refused.hint!, /--token or HF_TOKEN/);
  await downloadModel('owner/private', { token: 'hf_secret' });
  assert.is(server.asked.find(({ kind }) => kind === 'cdn')?.authorization, undefined);
  server.fault = ({ kind }) =>
    kind === 'tree' ? { headers: { Link: `<${server.elsewhere}/a/b/c/d>; rel="next"` } } : undefined;
  server.asked.length = 0;
  await refusal(() => downloadModel('owner/private', { token: 'hf_secret' }));
  assert.equal(
    server.asked.map(({ kind, authorization }) => [kind, authorization]),
    [
      ['info', 'Bearer hf_secret'],
      ['tree', 'Bearer hf_secret'],
      ['cdn', undefined],
    ],
  );
  server.reset();
  await removeModel('owner/private');
  process.env.HF_TOKEN = 'hf_secret\n';
  try {
    await downloadModel('owner/private');
  } finally {
    delete process.env.HF_TOKEN;
  }
});

hub('two at once bring a model once', async () => {
  server.publish('owner/race', { 'x.gguf': GGUF });
  const waits: string[] = [];
  const onProgress = ({ message }: { message: string }) => waits.push(message);
  const both = await Promise.all([1, 2].map(() => downloadModel('owner/race', { onProgress })));
  assert.equal(both.map(({ fetchedBytes }) => fetchedBytes).sort(), [0, GGUF.length]);
  assert.is(kinds().filter((kind) => kind === 'cdn').length, 1);
  assert.ok(waits.some((message) => /waiting for another process at work on owner\/race/.test(message)));
});

hub('tells how far it is', async () => {
  server.publish('owner/progress', { 'config.json': '{}', 'model.safetensors': GGUF });
  const seen: string[] = [];
  let last = 0;
  await downloadModel('owner/progress', {
    onProgress: ({ message, fraction = 0 }) => {
      if (message !== seen.at(-1)) seen.push(message);
      else assert.ok(fraction >= last);
      last = fraction;
    },
  });
  assert.equal(seen, [
    'looking for owner/progress',
    'downloading config.json (1 of 2)',
    'downloading model.safetensors (2 of 2)',
  ]);
  assert.is(last, 1);
});

hub('lists what is there by name, and leaves the rest of the folder alone', async () => {
  mkdirSync(join(folder, 'owner', '..strange'), { recursive: true });
  writeFileSync(join(folder, 'stray.txt'), '');
  const models = await listModels();
  const names = models.map(({ name }) => name);
  assert.equal(names, [...names].sort());
  assert.ok(names.includes('owner/one') && names.includes('owner/tags@v1.0'));
  assert.is(models.find(({ name }) => name === 'owner/one')?.bytes, GGUF.length);
  assert.is(models.find(({ name }) => name === 'owner/folder')?.format, 'safetensors');
  assert.is(models.find(({ name }) => name === 'owner/odd')?.format, 'none');
  process.env.BITNET_MODELS = join(folder, 'nowhere');
  try {
    assert.equal(await listModels(), []);
  } finally {
    process.env.BITNET_MODELS = folder;
  }
});

hub('removes a model by its exact name', async () => {
  for (const name of ['owner', 'owner/', 'owner/tag', 'owner/tags@v1', '..', 'owner/..', '']) {
    assert.match((await refusal(() => removeModel(name))).message, /has been downloaded/, name);
  }
  const { bytes } = await removeModel('owner/tags@v1.0');
  assert.is(bytes, 'version one'.length);
  assert.not(existsSync(join(folder, 'owner', 'tags%40v1.0')));
  assert.is(readFileSync(await resolveModel('owner/tags'), 'utf8'), 'main');
  assert.match((await refusal(() => removeModel('owner/tags@v1.0'))).message, /no model owner\/tags@v1\.0/);
});

hub('a path stays a path', async () => {
  for (const path of [
    folder,
    '/no/such/model.gguf',
    './owner/one',
    'model.gguf',
    'dir/model.gguf',
    'a/b/c',
    'a\\b/c',
  ]) {
    assert.is(await resolveModel(path), path);
  }
  const none = await refusal(() => resolveModel('owner/none'));
  assert.match(none.message, /no file owner\/none, and no downloaded model of that name/);
  assert.match(none.hint!, /bitnet model download owner\/none/);
  const here = process.cwd();
  process.chdir(temporaryFolder('hub-path'));
  mkdirSync(join('owner', 'one'), { recursive: true });
  try {
    assert.is(await resolveModel('owner/one'), 'owner/one');
  } finally {
    process.chdir(here);
  }
});

hub.run();
