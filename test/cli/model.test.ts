import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Manifest } from '../../artifact/manifest.ts';
import { packTokenizer, unpackTokenizer } from '../../artifact/tokenizer/file.ts';
import { Interrupted } from '../../cli/io.ts';
import { load } from '../../index.ts';
import { nativeTarget, targets } from '../../targets/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { assertLogits } from '../support/logits.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { fixture, invoke, start } from './invoke.ts';

const golden = JSON.parse(readFileSync(fixture('b158-i2s.json'), 'utf8'));
const expected = floats(fixture('b158-i2s.logits.f32'));
const file = fixture('b158-i2s.gguf');
const folder = temporaryFolder('cli');
const out = join(folder, 'generated');
const native = nativeTarget().id;
let artifact = '';
/** The artifact with a chat template that lists the turns. */
const talker = join(folder, 'talker');

function floats(path: string): Float32Array {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

/** A file of logits must agree with the reference, row by row. */
function assertGolden(path: string): void {
  const rows = (all: Float32Array) =>
    golden.tokens.map((_: number, row: number) => all.subarray(row * 512, (row + 1) * 512));
  assertLogits(rows(floats(path)), rows(expected));
}

const model = suite('command line with a model');

model('compile writes an artifact, and its JSON says where and with which kernels', async () => {
  const { code, stdout, stderr } = await invoke(['compile', file, '--out', out, '--json']);
  assert.is(code, 0, stderr);
  assert.is(stderr, '');
  const result = JSON.parse(stdout);
  artifact = result.artifact;
  assert.ok(result.kernels.length > 0);
  for (const kernel of result.kernels) assert.match(kernel, new RegExp(`__${native.replaceAll('-', '_')}$`));

  await cp(artifact, talker, { recursive: true });
  const chatTemplate = '{% for m in messages %}{{ m.role }}: {{ m.content }} {% endfor %}';
  const manifest: Manifest = JSON.parse(readFileSync(join(talker, 'manifest.json'), 'utf8'));
  const tables = unpackTokenizer(readFileSync(join(talker, manifest.tokenizer.file)));
  const tokenizer = packTokenizer({ ...tables, scalars: { ...tables.scalars, chatTemplate } });
  manifest.tokenizer.sha256 = createHash('sha256').update(tokenizer).digest('hex');
  writeFileSync(join(talker, manifest.tokenizer.file), tokenizer);
  writeFileSync(join(talker, 'manifest.json'), JSON.stringify(manifest));
});

model('compile prints the artifact alone on stdout, and does nothing twice', async () => {
  const { stdout, stderr } = await invoke(['compile', file, '--out', out]);
  assert.is(stdout, `${artifact}\n`);
  assert.match(stderr, /^up to date: /);
});

model('explains an artifact, and a model file alike', async () => {
  const built = JSON.parse((await invoke(['explain', artifact, '--json'])).stdout);
  const planned = JSON.parse((await invoke(['explain', file, '--json'])).stdout);
  assert.is(built.targets[0].target, native);
  assert.equal(built.targets[0].matrices, planned.targets[0].matrices);
  const uses = built.targets[0].matrices.map(({ use }: { use: string }) => use);
  assert.equal(uses, ['qkv', 'attn_output', 'gate', 'up', 'down']);
  const { stdout } = await invoke(['explain', artifact]);
  assert.match(stdout, /^qkv +512 × 256 +GEMV .*heuristic +bn_bitlinear_i2_gemv_m512k256_/m);
  assert.match(stdout, /^head: the embedding$/m);
});

model('runs: the same seed gives the same text, from a file as from its artifact', async () => {
  const flags = ['-p', 'abc', '-n', '12', '--seed', '7', '--out', out];
  const once = await invoke(['run', artifact, ...flags]);
  assert.is(once.code, 0, once.stderr);
  assert.is((await invoke(['run', file, ...flags])).stdout, once.stdout);
  const piped = await invoke(['run', artifact, '-n', '12', '--seed', '7'], { input: 'abc\n' });
  assert.is(piped.stdout, once.stdout);
  const { stdout } = await invoke(['run', artifact, ...flags, '--json']);
  const { text, tokens, seed, target, stats } = JSON.parse(stdout);
  assert.is(`${text}\n`, once.stdout);
  assert.ok(tokens.length <= 12);
  assert.is(seed, 7);
  assert.is(target, native);
  assert.ok(stats.promptTokens > 0);
});

model('prints statistics on stderr', async () => {
  const { stderr } = await invoke(['run', artifact, '-p', 'abc', '-n', '4', '--stats', '--quiet']);
  assert.match(stderr, /^prefill +\d+ tokens, .* tokens\/s$/m);
  assert.match(stderr, /^first +token after .* ms$/m);
  assert.match(stderr, /^decode +\d+ tokens, .* tokens\/s/m);
  assert.match(stderr, /^memory +weights .*KV cache .*process/m);
});

model('answers a line of standard input a turn, remembering those before', async () => {
  const { code, stdout, stderr } = await invoke(
    ['run', talker, '--chat', '--system', 'be brief', '-n', '3', '--temp', '0', '--json'],
    { input: 'one\n\ntwo\n' },
  );
  assert.is(code, 0, stderr);
  const answers = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.is(answers.length, 2);
  assert.ok(answers[1].stats.promptTokens > answers[0].stats.promptTokens);
  assert.ok(answers[1].stats.cachedTokens > 0);
});

model('refuses a conversation with a model that has no template', async () => {
  const { code, stderr } = await invoke(['run', artifact, '--chat', '-p', 'hello']);
  assert.is(code, 1);
  assert.match(stderr, /no chat template\nhint: /);
});

model('ends with 1 for values that the library refuses', async () => {
  const { code, stderr } = await invoke(['run', artifact, '-p', 'abc', '--top-p', '2', '--quiet']);
  assert.is(code, 1);
  assert.match(stderr, /topP is 2/);
});

model('refuses to run what this machine cannot', async () => {
  const foreign = targets.find(({ cross, arch }) => cross && arch !== nativeTarget().arch);
  if (!foreign) return;
  for (const command of [
    ['run', file, '-p', 'x'],
    ['bench', file],
  ]) {
    const { code, stderr } = await invoke([...command, '--target', foreign.id, '--out', out]);
    assert.is(code, 1);
    assert.match(stderr, new RegExp(`target ${foreign.id} does not run on this machine`));
  }
  assert.not(existsSync(join(artifact, foreign.id)));
});

model('an interruption ends a generation with 130', async () => {
  const interrupt = new AbortController();
  let pieces = 0;
  const { code, stdout } = await invoke(['run', artifact, '-p', 'abc', '-n', '400', '--seed', '1'], {
    signal: interrupt.signal,
    onOutput: () => {
      if (++pieces === 3) interrupt.abort(new Interrupted());
      return undefined;
    },
  });
  assert.is(code, 130);
  assert.ok(stdout.endsWith('\n'));
  assert.ok(stdout.length < 100);
});

model('Ctrl-C ends a process that waits for input, with 130', async () => {
  const { child, ended } = start(['run', talker, '--chat', '-n', '2']);
  child.stdin.write('hello\n');
  let answer = '';
  for await (const chunk of child.stdout) {
    answer += chunk;
    if (answer.endsWith('\n')) child.kill('SIGINT');
  }
  assert.is((await ended).code, 130);
});

model('writes logits that match the reference', async () => {
  const logits = join(folder, 'logits.f32');
  const flags = ['--tokens', golden.tokens.join(), '--out', logits, '--kv', 'f32', '--threads', '2', '--pin', '--json'];
  const { code, stdout, stderr } = await invoke(['logits', artifact, ...flags, '--target', native]);
  assert.is(code, 0, stderr);
  assert.equal(JSON.parse(stdout), { out: logits, rows: golden.tokens.length, vocab: 512, target: native });
  assertGolden(logits);
});

model('refuses more threads than make sense', async () => {
  const { code, stderr } = await invoke([
    'logits',
    artifact,
    '--tokens',
    '1',
    '--out',
    join(folder, 'none'),
    '--threads',
    '257',
  ]);
  assert.is(code, 1);
  assert.match(stderr, /threads is 257, it must be a whole number from 1 to 256/);
});

model('leaves no file of logits behind where there are none', async () => {
  const logits = join(folder, 'none.f32');
  const { code, stderr } = await invoke(['logits', artifact, '--tokens', '1,512', '--out', logits]);
  assert.is(code, 1);
  assert.match(stderr, /token id 512 is outside the vocabulary/);
  assert.not(existsSync(logits));
});

model('gives the perplexity of a file of tokens', async () => {
  const ids = join(folder, 'ids.txt');
  writeFileSync(ids, `${golden.tokens.join(',\n')}\n`);
  const { code, stdout, stderr } = await invoke([
    'perplexity',
    artifact,
    '--tokens-file',
    ids,
    '--window',
    '6',
    '--json',
  ]);
  assert.is(code, 0, stderr);
  const { nll, perplexity, tokens, window } = JSON.parse(stdout);
  assert.is(tokens, 10);
  assert.is(window, 6);
  assert.ok(Math.abs(Math.exp(nll) - perplexity) < 1e-6 * perplexity);
});

model('the front door opens artifacts, and compiles model files first', async () => {
  const stages = new Set<string>();
  const opened = await load(file, { out, target: native, threads: 1, onProgress: ({ stage }) => stages.add(stage) });
  assert.is(opened.target, native);
  assert.is(opened.detokenize(opened.tokenize('abc')), 'abc');
  assert.ok(stages.has('ready'));
  await opened.dispose();
});

const { beds, absent } = await testBeds();
for (const { target, reason } of absent) {
  if (target.cross) skip(model, `writes logits of ${target.id} under an emulator`, reason);
}
for (const { target } of beds.filter(({ emulator }) => emulator.length > 0)) {
  model(`writes logits of ${target.id} under an emulator`, async () => {
    const logits = join(folder, `${target.id}.f32`);
    const flags = ['--tokens', golden.tokens.join(), '--out', logits, '--kv', 'f32', '--target', target.id, '--quiet'];
    const missing = await invoke(['logits', artifact, ...flags]);
    assert.is(missing.code, 1);
    assert.match(missing.stderr, new RegExp(`no program for ${target.id}\\nhint: .*--target ${target.id}`));
    const compiled = await invoke(['compile', file, '--out', out, '--target', target.id, '--quiet']);
    assert.is(compiled.code, 0, compiled.stderr);
    const { code, stderr } = await invoke(['logits', artifact, ...flags]);
    assert.is(code, 0, stderr);
    assertGolden(logits);
  });
}

model.run();
