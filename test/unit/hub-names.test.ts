import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { modelsFolder } from '../../compiler/hub/folder.ts';
import type { HubFile } from '../../compiler/hub/hub.ts';
import { isRepo, isSafePath, modelName, parseModelName } from '../../compiler/hub/names.ts';
import { chooseFiles } from '../../compiler/hub/select.ts';
import { refusal } from '../support/refusal.ts';

const names = suite('hub names');

names('the folder of models is where each system has such data', () => {
  const at = (environment: NodeJS.ProcessEnv, platform: NodeJS.Platform) =>
    modelsFolder(environment, platform, '/home/a');
  const rest = join('bitnet-toolchain', 'models');
  assert.is(at({}, 'linux'), join('/home/a', '.local', 'share', rest));
  assert.is(at({ XDG_DATA_HOME: '/data' }, 'linux'), join('/data', rest));
  assert.is(at({ XDG_DATA_HOME: '/data' }, 'darwin'), join('/home/a', 'Library', 'Application Support', rest));
  assert.is(at({ LOCALAPPDATA: '/local' }, 'win32'), join('/local', rest));
  assert.is(at({}, 'win32'), join('/home/a', 'AppData', 'Local', rest));
  assert.is(at({ BITNET_MODELS: '/mine', XDG_DATA_HOME: '/data' }, 'linux'), '/mine');
});

names('knows what can be a model on the Hub', () => {
  for (const name of ['microsoft/bitnet-b1.58-2B-4T-gguf', 'a/b', '1bitLLM/bitnet_b1_58-3B'])
    assert.ok(isRepo(name), name);
  const wrong = [
    '',
    'a',
    'a/b/c',
    '/a',
    'a/',
    '../a',
    'a/..',
    'a/.b',
    'a/b.',
    'a/-b',
    'a/b--c',
    'a/b..c',
    'a/b c',
    'C:/b',
  ];
  for (const name of [...wrong, 'a/b?x', 'a/b#x', 'con/b', 'a/nul.txt', 'a\\b', `a/${'b'.repeat(97)}`]) {
    assert.not(isRepo(name), name);
  }
});

names('reads a name with its revision, and writes it again', async () => {
  assert.equal(parseModelName('a/b'), { repo: 'a/b', revision: 'main' });
  assert.equal(parseModelName('a/b', 'refs/pr/1'), { repo: 'a/b', revision: 'refs/pr/1' });
  assert.equal(parseModelName('a/b@v1.0'), { repo: 'a/b', revision: 'v1.0' });
  assert.is(modelName(parseModelName('a/b@main')), 'a/b');
  assert.is(modelName(parseModelName('a/b@v1.0')), 'a/b@v1.0');
  assert.match((await refusal(() => parseModelName('a'))).message, /'a' is not the name/);
  assert.match((await refusal(() => parseModelName('a/b@x', 'y'))).message, /two revisions/);
  for (const revision of ['', '..', 'a/../b', '/a', 'a/', '-x', 'a b', 'a\nb', 'a?b', 'a@b', 'v1.']) {
    assert.match((await refusal(() => parseModelName('a/b', revision))).message, /cannot be a revision/, revision);
  }
});

names('takes no file name that leaves its folder or means another thing elsewhere', () => {
  for (const path of [
    'a.gguf',
    'a/b/c.json',
    'model-00001-of-00002.safetensors',
    'größe.gguf',
    'a b.gguf',
    'console.txt',
  ]) {
    assert.ok(isSafePath(path), path);
  }
  const wrong = ['', '/etc/passwd', '../x', 'a/../../x', 'a//b', 'a/', './a', '.bitnet/model.json', 'a/.hidden', '..'];
  const windows = [
    'C:/x',
    'C:x',
    '\\\\host\\share',
    'a\\b',
    'a:stream',
    'CON',
    'a/nul',
    'aux.gguf',
    'COM1.txt',
    'lpt9',
  ];
  const odd = ['a.', 'a ', ' a', 'a\nb', 'a\u0000b', 'a\u001b[2J', 'a\u202egguf', '\ud800', 'a?b', 'a*b', 'CON .txt'];
  for (const path of [...wrong, ...windows, ...odd, 'x'.repeat(201), 'x/'.repeat(501)]) {
    assert.not(isSafePath(path), JSON.stringify(path));
  }
});

const file = (path: string): HubFile => ({ path, bytes: 1, checksum: { kind: 'git', hex: '0'.repeat(40) } });
const chosen = (paths: readonly string[], asked: readonly string[] = [], here: readonly string[] = []) =>
  chooseFiles('a/b', paths.map(file), asked, here).map(({ path }) => path);
const refused = (...args: Parameters<typeof chosen>) => refusal(() => chosen(...args));

const SHARDS = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
const INDEX = 'model.safetensors.index.json';

names('chooses the only GGUF, and asks where there are several', async () => {
  assert.equal(chosen(['README.md', 'config.json', 'model.safetensors', 'x.gguf']), ['x.gguf']);
  const several = await refused(['x.gguf', 'y.GGUF', 'README.md']);
  assert.match(several.message, /2 GGUF files: choose with --file/);
  assert.is(several.hint, 'x.gguf, y.GGUF');
  assert.equal(chosen(['x.gguf', 'y.gguf'], ['y.gguf']), ['y.gguf']);
});

names('chooses what a SafeTensors importer needs, and no more', () => {
  const rest = ['config.json', 'tokenizer.json', 'chat_template.jinja'];
  const noise = ['README.md', '.gitattributes', 'pytorch_model.bin', 'onnx/model.safetensors', 'flax.msgpack'];
  assert.equal(chosen([...noise, ...rest, 'model.safetensors', INDEX, ...SHARDS]), [...rest, 'model.safetensors']);
  assert.equal(chosen([...noise, ...rest, INDEX, ...SHARDS, 'consolidated.safetensors']), [...rest, INDEX, ...SHARDS]);
});

names('says what there is where there is nothing of use', async () => {
  const pickles = await refused(['pytorch_model.bin', 'config.json']);
  assert.match(pickles.message, /neither a GGUF file nor config\.json with SafeTensors/);
  assert.match(pickles.hint!, /pytorch_model\.bin, config\.json/);
  assert.match((await refused([])).hint!, /no files/);
  for (const paths of [['model.safetensors'], ['config.json', 'weights.safetensors'], ['config.json', ...SHARDS]]) {
    assert.match((await refused(paths)).message, /neither/);
  }
  const missing = await refused(['x.gguf', 'bad\u001b[2Jname'], ['z.gguf']);
  assert.match(missing.message, /no file z\.gguf/);
  assert.is(missing.hint, 'it has x.gguf, bad?[2Jname');
  assert.match((await refused(Array.from({ length: 500 }, (_, i) => `${i}.bin`))).hint!, /19\.bin, and 480 more/);
});

names('what is here already decides, and comes along', () => {
  assert.equal(chosen(['x.gguf', 'y.gguf'], [], ['y.gguf']), ['y.gguf']);
  assert.equal(chosen(['x.gguf', 'y.gguf'], ['x.gguf'], ['y.gguf']), ['x.gguf', 'y.gguf']);
  assert.equal(chosen(['x.gguf'], [], ['gone.gguf']), ['x.gguf']);
});

names('refuses names that are not safe, but only of what is wanted', async () => {
  assert.equal(chosen(['../evil.json', 'x.gguf']), ['x.gguf']);
  assert.match((await refused(['../x.gguf'])).message, /"\.\.\/x\.gguf", which is not safe/);
  assert.match((await refused(['CON'], ['CON'])).message, /not safe/);
  assert.match((await refused(['a.bin', 'A.bin'], ['a.bin', 'A.bin'])).message, /but for upper and lower case/);
});

names.run();
