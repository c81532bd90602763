import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { temporaryFolder } from '../support/temporary.ts';
import { fixture, invoke } from './invoke.ts';

const conversion = suite('bitnet convert, verify, repair');
const folder = temporaryFolder('cli-convert');
const B158 = fixture('b158-i2s.gguf');

conversion('convert says what each tensor became, and what reading needs', async () => {
  const out = join(folder, 'tl2.gguf');
  const there = await invoke(['convert', B158, out, '--to', 'gguf', '--type', 'tl2', '--embed-type', 'q8_0']);
  assert.is(there.code, 0, there.stderr);
  assert.match(there.stdout, /^token_embd\.weight .* 512 × 256 +f16 → q8_0 +within 0\.00\d+$/m);
  assert.match(there.stdout, /^blk\.0\.attn_q\.weight .* 256 × 256 +i2_s → tl2 +equal, scale 0\.0695190$/m);
  assert.match(there.stderr, `reading this file needs the tiles that it is laid out by: --config ${out}.ini`);
  assert.match(there.stderr, /14 ternary matrices as tl2, each equal to the input bit for bit/);

  const lost = await invoke(['convert', out, join(folder, 'back.gguf'), '--to', 'gguf']);
  assert.is(lost.code, 1);
  assert.match(lost.stderr, /\.ini/);
  const back = await invoke([
    'convert',
    out,
    join(folder, 'back.gguf'),
    '--to',
    'gguf',
    '--config',
    `${out}.ini`,
    '--json',
  ]);
  assert.is(back.code, 0, back.stderr);
  assert.is(back.stderr, '');
  const report = JSON.parse(back.stdout);
  assert.equal([report.format, report.weights, report.output], ['gguf', 'i2_s', join(folder, 'back.gguf')]);
  assert.ok(report.tensors.every((tensor: { equal: boolean }) => tensor.equal));
});

conversion('every order of I2_S can be asked for', async () => {
  for (const order of ['128', '64', '4rows']) {
    const out = join(folder, `order-${order}.gguf`);
    const there = await invoke(['convert', B158, out, '--to', 'gguf', '--i2s-layout', order, '--quiet']);
    assert.is(there.code, 0, there.stderr);
    const same = readFileSync(out).equals(readFileSync(B158));
    assert.is(same, order === '128', 'what is written has the published order');
    assert.is((await invoke(['verify', B158, '--i2s-layout', order, '--quiet'])).code, 0);
    const { code, stderr } = await invoke(['repair', B158, out, '--i2s-layout', order, '--quiet']);
    assert.is(code, 0, stderr);
  }
});

const WRONG: [string, string[], RegExp][] = [
  ['no format', ['convert', B158, 'x'], /required option '--to/],
  ['an unknown format', ['convert', B158, 'x', '--to', 'onnx'], /gguf, safetensors/],
  [
    'an unknown type',
    ['convert', B158, 'x', '--to', 'gguf', '--type', 'q2_k'],
    /i2_s, tq1_0, tq2_0, tl1, tl2, f16, bf16/,
  ],
  ['a sha256 that is none', ['verify', B158, '--sha256', 'abc'], /64 hexadecimal digits/],
];
for (const [what, argv, message] of WRONG) {
  conversion(`ends with 2 for ${what}`, async () => {
    const { code, stderr } = await invoke(argv);
    assert.is(code, 2);
    assert.match(stderr, message);
  });
}

conversion('convert ends with 1 for what cannot be stored, with a hint, and writes nothing', async () => {
  const out = join(folder, 'ragged.gguf');
  const { code, stderr } = await invoke([
    'convert',
    fixture('b158-ragged-i2s.gguf'),
    out,
    '--to',
    'gguf',
    '--type',
    'tq1_0',
  ]);
  assert.is(code, 1);
  assert.match(stderr, /^error: tensor blk\.0\.attn_q\.weight cannot be stored as tq1_0.*\nhint: .*i2_s/m);
  assert.not(readdirSync(folder).some((name) => name.startsWith('ragged')));
});

conversion('verify lists tensors, and says that nothing is wrong', async () => {
  const sha256 = createHash('sha256').update(readFileSync(B158)).digest('hex');
  const { code, stdout, stderr } = await invoke(['verify', B158, '--sha256', sha256]);
  assert.is(code, 0);
  assert.match(stdout, /^blk\.0\.attn_q\.weight +256 × 256 +i2_s +280672 +33% zeros, scale 0\.0695190$/m);
  assert.match(stderr, /nothing is wrong with this GGUF model/);
});

conversion('verify ends with 1 and lists every fault', async () => {
  const file = readFileSync(B158);
  file[280672 + 5] = 0xff;
  file.writeFloatLE(Number.NaN, 274528 + 4);
  const path = join(folder, 'faulty.gguf');
  writeFileSync(path, file);
  const { code, stdout, stderr } = await invoke(['verify', path]);
  assert.is(code, 1);
  assert.match(stderr, /has 2 faults/);
  assert.match(stdout, `${path} (byte 280672): tensor blk.0.attn_q.weight: weight 5 of the tensor has the code 3`);
  assert.match(stdout, `${path} (byte 274528): tensor output_norm.weight: value 1 is NaN`);
  const json = await invoke(['verify', path, '--json']);
  assert.is(json.code, 1);
  assert.is(JSON.parse(json.stdout).findings.length, 2);
});

conversion('repair says what it did, or that there was nothing to do', async () => {
  const file = readFileSync(fixture('llama-tq2.gguf'));
  const at = file.indexOf('general.alignment') + 'general.alignment'.length + 4;
  assert.is(file.readUInt32LE(at), 32);
  file.writeUInt32LE(31, at);
  const [path, out] = [join(folder, 'odd.gguf'), join(folder, 'mended.gguf')];
  writeFileSync(path, file);
  const { code, stdout } = await invoke(['repair', path, out]);
  assert.is(code, 0);
  assert.is(stdout, 'general.alignment is 31, which is not a power of two: it is 32 now\n');
  assert.ok(readFileSync(out).equals(readFileSync(fixture('llama-tq2.gguf'))));

  const none = await invoke(['repair', out, join(folder, 'again.gguf')]);
  assert.is(none.code, 0);
  assert.match(none.stderr, /nothing to repair/);
  assert.not(existsSync(join(folder, 'again.gguf')));
});

conversion.run();
