import { createHash } from 'node:crypto';
import { appendFileSync, cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readGguf } from '../../compiler/import/gguf/reader.ts';
import { compile, convert, verifyFile } from '../../compiler/index.ts';
import { fixture } from '../cli/invoke.ts';
import { GgufBytes } from '../gguf-bytes.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const verifying = suite('verify');
const folder = temporaryFolder('verify');
const B158 = fixture('b158-i2s.gguf');
const whole = readFileSync(B158);
const offsets = new Map((await readGguf(B158)).tensors.map(({ name, offset }) => [name, offset]));
let made = 0;

function save(bytes: Uint8Array): string {
  const path = join(folder, `model-${made++}.gguf`);
  writeFileSync(path, bytes);
  return path;
}

for (const name of ['b158-i2s', 'b158-ragged-i2s', 'bitnet-silu-tq1', 'llama-tq2']) {
  verifying(`finds nothing wrong with ${name}, in GGUF and SafeTensors`, async () => {
    const gguf = await verifyFile(fixture(`${name}.gguf`));
    assert.equal([gguf.kind, gguf.findings], ['gguf', []]);
    const { output } = await convert(fixture(`${name}.gguf`), join(folder, name), { to: 'safetensors' });
    const safetensors = await verifyFile(output);
    assert.equal([safetensors.kind, safetensors.findings], ['safetensors', []]);
  });
}

verifying('gives the share of zeros and the scale of ternary tensors', async () => {
  const { tensors } = await verifyFile(B158);
  const query = tensors.find(({ name }) => name === 'blk.0.attn_q.weight')!;
  // Straight from the bytes: four codes in each, 1 stands for zero.
  const at = offsets.get(query.name)!;
  const codes = [...whole.subarray(at, at + (256 * 256) / 4)].flatMap((byte) =>
    [0, 2, 4, 6].map((by) => (byte >> by) & 3),
  );
  assert.is(query.zeros, codes.filter((code) => code === 1).length / codes.length);
  assert.is(query.scale, whole.readFloatLE(at + (256 * 256) / 4));
  assert.is(tensors.find(({ name }) => name === 'output_norm.weight')!.zeros, undefined);
});

verifying('lists all that is wrong with data, each with tensor and offset', async () => {
  const file = Buffer.from(whole);
  const wrong = {
    'blk.0.attn_k.weight': /weight \d+ .* code 3/,
    'blk.1.attn_q.weight': /scale .* is NaN/,
    'blk.0.ffn_sub_norm.weight': /value 3 is -Infinity, as are 1 others/,
    'token_embd.weight': /value 700 is NaN/,
  };
  file[offsets.get('blk.0.attn_k.weight')! + 77] = 0xff;
  file.writeFloatLE(Number.NaN, offsets.get('blk.1.attn_q.weight')! + (256 * 256) / 4);
  for (const i of [3, 500])
    file.writeFloatLE(Number.NEGATIVE_INFINITY, offsets.get('blk.0.ffn_sub_norm.weight')! + 4 * i);
  file.writeUInt16LE(0x7e01, offsets.get('token_embd.weight')! + 2 * 700);
  const path = save(file);
  const { findings } = await verifyFile(path);
  assert.is(findings.length, 4, JSON.stringify(findings, null, 1));
  for (const [tensor, problem] of Object.entries(wrong)) {
    const finding = findings.find((one) => one.tensor === tensor)!;
    assert.match(finding.problem, problem);
    assert.equal([finding.file, finding.offset], [path, offsets.get(tensor)]);
  }
});

verifying('lists every tensor that a cut-off file lacks, and still reads the others', async () => {
  const { findings, tensors } = await verifyFile(save(whole.subarray(0, offsets.get('blk.1.ffn_gate.weight')! + 100)));
  assert.equal(
    findings.map(({ tensor }) => tensor),
    ['blk.1.ffn_gate.weight', 'blk.1.ffn_up.weight', 'blk.1.ffn_down.weight'],
  );
  assert.is(tensors.length, offsets.size - 3);
});

verifying('lists what an architecture has no use for, and what it misses', async () => {
  const file = Buffer.from(whole);
  for (const layer of [0, 1]) {
    const name = `blk.${layer}.attn_sub_norm.weight`;
    file[file.indexOf(name) + 'blk.0.attn_sub_'.length] = 'f'.charCodeAt(0);
  }
  const { findings } = await verifyFile(save(file));
  const text = findings.map(({ problem }) => problem).join('\n');
  for (const layer of [0, 1]) {
    assert.match(text, `tensor blk.${layer}.attn_sub_norm.weight is missing`);
    assert.match(text, `tensor blk.${layer}.attn_sub_form.weight is not part of`);
  }
});

verifying('reports a header that cannot be read, and a tokenizer beside other faults', async () => {
  const cut = await verifyFile(save(whole.subarray(0, 2000)));
  assert.is(cut.findings.length, 1);
  const file = new GgufBytes();
  file.text('general.architecture', 'bitnet-b1.58').text('tokenizer.ggml.model', 'gpt2');
  file.texts('tokenizer.ggml.tokens', ['a', 'b']).texts('tokenizer.ggml.merges', ['a b']);
  file.floats('output_norm.weight', [1, 2, 3, 4]);
  const { findings } = await verifyFile(save(file.build()));
  assert.match(findings[0].problem, /embedding_length is missing/);
  assert.match(findings[1].problem, /merge 0 of the tokenizer needs the token "ab"/);
});

verifying('finds tensors that lie on each other', async () => {
  const file = new GgufBytes().text('general.architecture', 'bitnet-b1.58');
  file.floats('a', Array(16).fill(1)).tensor('b', [16], 0, Buffer.alloc(64), 32);
  const { findings } = await verifyFile(save(file.build()));
  assert.match(findings[0].problem, /data of tensor b begin inside those of a/);
});

verifying('compares a sha256', async () => {
  const sha256 = createHash('sha256').update(whole).digest('hex');
  assert.equal((await verifyFile(B158, { sha256 })).findings, []);
  assert.equal((await verifyFile(B158, { sha256: sha256.toUpperCase() })).findings, []);
  const { findings } = await verifyFile(B158, { sha256: '0'.repeat(64) });
  assert.match(findings[0].problem, `its sha256 is ${sha256}, not 0000`);
  assert.match((await refusal(() => verifyFile(folder, { sha256 }))).message, /folder, which has no sha256/);
  assert.match((await refusal(() => verifyFile('/no/such'))).message, /cannot read/);
});

verifying('compares every file of an artifact with its manifest', async () => {
  const { artifact } = await compile(B158, { target: 'ref', out: join(folder, 'artifacts') });
  const sound = await verifyFile(artifact);
  assert.equal([sound.kind, sound.findings], ['artifact', []]);

  const copy = join(folder, 'damaged');
  cpSync(artifact, copy, { recursive: true });
  const weights = join(copy, 'weights', readdirSync(join(copy, 'weights'))[0]);
  const bytes = readFileSync(weights);
  bytes[bytes.length >> 1] ^= 1;
  writeFileSync(weights, bytes);
  const library = readdirSync(join(copy, 'ref')).map((name) => join(copy, 'ref', name));
  for (const file of library) appendFileSync(file, 'x');
  writeFileSync(join(copy, 'tokenizer.bin'), '{}\n');
  const { findings } = await verifyFile(copy);
  assert.equal(
    findings.map(({ file, problem }) => [file, problem.replace(/[0-9a-f]{64}/g, '…').slice(0, 22)]),
    [
      [weights, "the file's sha256 is …"],
      [library.find((file) => findings.some((finding) => finding.file === file)), "the file's sha256 is …"],
      [join(copy, 'tokenizer.bin'), "the file's sha256 is …"],
    ],
  );
  writeFileSync(join(copy, 'manifest.json'), '{}');
  assert.match((await verifyFile(copy)).findings[0].problem, /manifest cannot be read/);
});

verifying('stops when it is aborted', async () => {
  const error = await verifyFile(B158, { signal: AbortSignal.abort() }).catch((reason) => reason);
  assert.is(error.name, 'AbortError');
});

verifying.run();
