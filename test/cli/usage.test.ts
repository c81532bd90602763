import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultModel } from '../../index.ts';
import { gpuTargets, targets } from '../../targets/index.ts';
import { f32, safetensorsBytes } from '../safetensors-bytes.ts';
import { withEnvironment } from '../support/environment.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { fixture, invoke, start } from './invoke.ts';

const COMMANDS = [
  'run',
  'compile',
  'convert',
  'verify',
  'repair',
  'inspect',
  'explain',
  'logits',
  'embed',
  'perplexity',
  'tune',
  'bench',
  'doctor',
  'targets',
];
const usage = suite('command line');

usage('lists its commands and exit codes', async () => {
  const { code, stdout, stderr } = await invoke(['--help']);
  assert.is(code, 0);
  assert.is(stderr, '');
  for (const command of COMMANDS) assert.match(stdout, new RegExp(`^  ${command} `, 'm'));
  assert.match(stdout, /Exit codes: 0 .* 1 .* 2 .* 130/);
});

for (const command of COMMANDS) {
  usage(`${command} --help has examples`, async () => {
    const { code, stdout } = await invoke([command, '--help']);
    assert.is(code, 0);
    assert.match(stdout, new RegExp(`Examples:\\n.*bitnet ${command}`));
  });
}

usage('prints the version of the package', async () => {
  const { code, stdout } = await invoke(['--version']);
  assert.is(code, 0);
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
});

const WRONG: [string, string[], RegExp][] = [
  ['no command', [], /Usage: bitnet/],
  ['an unknown command', ['nope'], /unknown command 'nope'/],
  ['an unknown option', ['run', '--nope'], /unknown option '--nope'\nusage: bitnet run/],
  ['too many arguments', ['targets', 'x'], /too many arguments/],
  ['a number that is none', ['run', '-p', 'x', '--temp', 'warm'], /--temp.*must be a number/],
  ['a count of none', ['run', '-p', 'x', '-n', '0'], /must be 1 or more/],
  ['half a token', ['logits', 'm', '--out', 'x', '--tokens', '1,2.5'], /--tokens.*token ids/],
  ['a missing option', ['logits', 'm', '--out', 'x'], /required option '--tokens/],
  ['a wrong choice', ['run', '-p', 'x', '--kv', 'f64'], /f16, f32/],
  ['an unknown stage', ['compile', '--dump=ast'], /ir, plan, sources/],
  ['a system message without a conversation', ['run', '-p', 'x', '--system', 'y'], /needs '--chat'/],
  ['a model and a shape', ['bench', 'm', '--shape', 'tiny'], /not both/],
];
for (const [what, argv, message] of WRONG) {
  usage(`ends with 2 for ${what}`, async () => {
    const { code, stdout, stderr } = await invoke(argv);
    assert.is(code, 2);
    assert.is(stdout, '');
    assert.match(stderr, message);
  });
}

usage('ends with 2 where nobody gives a prompt', async () => {
  const { code, stderr } = await invoke(['run'], { terminal: true });
  assert.is(code, 2);
  assert.match(stderr, /no prompt/);
});

const BAD: [string, string[], RegExp][] = [
  ['a missing model', ['run', '/no/such.gguf', '-p', 'x'], /^error: cannot read \/no\/such\.gguf/],
  ['a file that is no model', ['compile', fixture('b158-i2s.json')], /is not a model file/],
  ['a file that is no GGUF', ['inspect', fixture('b158-i2s.json')], /is not a model file that we know/],
  ['an unknown target', ['compile', '--target', 'z80'], /no target 'z80'\nhint: targets: ref/],
  ['two targets to run on', ['run', '-p', 'x', '--target', 'ref,x86-avx2'], /runs on one target/],
  ['an unknown shape', ['bench', '--shape', '9t'], /no shape "9t"\nhint: .*2b4t/],
  ['a missing token file', ['perplexity', defaultModel(), '--tokens-file', '/no/ids'], /cannot read \/no\/ids/],
  [
    'a token file of words',
    ['perplexity', defaultModel(), '--tokens-file', fixture('b158-i2s.json')],
    /no list of token/,
  ],
];
for (const [what, argv, message] of BAD) {
  usage(`ends with 1 for ${what}`, async () => {
    const { code, stdout, stderr } = await invoke(argv);
    assert.is(code, 1);
    assert.is(stdout, '');
    assert.match(stderr, message);
    assert.not.match(stderr, /\n {4}at /);
  });
}

usage('inspects a file as tables, long arrays cut short', async () => {
  const { code, stdout } = await invoke(['inspect', fixture('b158-i2s.gguf')]);
  assert.is(code, 0);
  assert.match(stdout, /^general\.architecture +string +bitnet-b1\.58$/m);
  assert.match(stdout, /^tokenizer\.ggml\.tokens +string\[512\] .*, …$/m);
  assert.match(stdout, /^blk\.0\.attn_k\.weight +128 × 256 +I2_S +\d+ +8224$/m);
});

usage('inspects a SafeTensors file, and one in a folder', async () => {
  const folder = temporaryFolder('inspect');
  const file = join(folder, 'model.safetensors');
  writeFileSync(file, safetensorsBytes({ 'model.norm.weight': f32([4], [1, 2, 3, 4]) }));
  for (const path of [file, folder]) {
    const { code, stdout } = await invoke(['inspect', path]);
    assert.is(code, 0);
    assert.match(stdout, /^model\.norm\.weight +4 +F32 +\d+ +16$/m);
  }
});

usage('inspects a file as JSON, in full', async () => {
  const { code, stdout } = await invoke(['inspect', fixture('b158-i2s.gguf'), '--json']);
  assert.is(code, 0);
  const { version, metadata, tensors } = JSON.parse(stdout);
  assert.is(version, 3);
  assert.is(metadata['tokenizer.ggml.tokens'].length, 512);
  assert.equal(tensors.find(({ name }: { name: string }) => name === 'token_embd.weight').shape, [512, 256]);
});

usage('lists the targets', async () => {
  const { code, stdout } = await invoke(['targets', '--json']);
  assert.is(code, 0);
  const listed: { id: string; runs: boolean; native: boolean }[] = JSON.parse(stdout);
  assert.equal(
    listed.map(({ id }) => id),
    [...targets, ...gpuTargets].map(({ id }) => id),
  );
  assert.ok(listed.find(({ id }) => id === 'ref')!.runs);
  assert.is(listed.filter(({ native }) => native).length, 1);
  assert.match((await invoke(['targets'])).stdout, /^ref .*portable scalar C\+\+/m);
});

usage('examines the machine', async () => {
  const { code, stdout } = await invoke(['doctor', '--json']);
  assert.is(code, 0);
  const { ok, checks, machine } = JSON.parse(stdout);
  assert.ok(ok);
  assert.ok(machine.cores >= 1);
  for (const name of ['node', 'engine', 'cmake']) {
    assert.ok(checks.find((check: { name: string }) => check.name === name).ok, name);
  }
});

usage('says what installs a missing compiler, and ends with 1', async () => {
  await withEnvironment({ PATH: '/no/such/folder', CXX: undefined }, async () => {
    const { code, stdout, stderr } = await invoke(['doctor']);
    assert.is(code, 1);
    assert.match(stdout, /^cmake +missing .*install cmake$/m);
    assert.match(stdout, /^g\+\+ +missing .*install .*$/m);
    assert.match(stderr, /cannot be compiled and run/);
    const compiled = await invoke(['compile', fixture('b158-i2s.gguf'), '--target', 'ref']);
    assert.is(compiled.code, 1);
    assert.match(compiled.stderr, /no C\+\+ compiler.*\nhint: .*install/);
  });
});

usage('shows the stages of the compiler', async () => {
  const model = fixture('b158-i2s.gguf');
  const plan = JSON.parse((await invoke(['compile', model, '--dump=plan'])).stdout);
  assert.is(plan.architecture, 'bitnet-b1.58');
  assert.ok(plan.layer.some(({ op }: { op: string }) => op === 'attention'));
  const both = JSON.parse((await invoke(['compile', model, '--dump=ir,plan'])).stdout);
  assert.equal(Object.keys(both), ['ir', 'plan']);
  const { stdout } = await invoke(['compile', model, '--dump=sources', '--target', 'ref']);
  assert.match(stdout, /^\/\/ ===== ref\/model\.cpp$/m);
  assert.match(stdout, /^\/\/ ===== ref\/bn_bitlinear_i2_gemv_m512k256_\w+__ref\.cpp$/m);
});

usage('ends quietly when its reader has seen enough', async () => {
  const broken = Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
  const outcome = await invoke(['inspect', fixture('b158-i2s.gguf')], { onOutput: () => broken });
  assert.is(outcome.code, 0);
  assert.is(outcome.stderr, '');
  const { child, ended } = start(['inspect', defaultModel(), '--json']);
  child.stdout.destroy();
  assert.equal(await ended, { code: 0, stderr: '' });
});

usage('writes everything before its process ends', async () => {
  const { child, ended } = start(['inspect', defaultModel(), '--json']);
  await once(child.stdout, 'readable');
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  assert.is((await ended).code, 0);
  assert.is(JSON.parse(text).metadata['tokenizer.ggml.tokens'].length, 4096);
});

usage('passes its exit code on', async () => {
  const { code, stderr } = await start(['nope']).ended;
  assert.is(code, 2);
  assert.match(stderr, /unknown command/);
});

usage.run();
