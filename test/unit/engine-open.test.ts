import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Machine } from '../../artifact/machine.ts';
import type { Manifest } from '../../artifact/manifest.ts';
import { ABI_VERSION, ARTIFACT_FORMAT } from '../../artifact/version.ts';
import { BitnetError } from '../../errors.ts';
import { chooseTarget, type LoadOptions, openArtifact, readArtifact } from '../../runtime/src/index.ts';
import { CONTEXT, KERNELS, toyArtifact, toyLibrary } from '../fixtures/toy-model/toy.ts';

async function refusal(folder: string, options: LoadOptions = {}): Promise<BitnetError> {
  try {
    const model = await openArtifact(folder, options);
    await model.dispose();
  } catch (error) {
    assert.instance(error, BitnetError);
    return error as BitnetError;
  }
  throw new Error('it should have been refused');
}

test('opens and tells what it is', async () => {
  const stages: string[] = [];
  const model = await openArtifact(toyArtifact(), {
    threads: 1,
    pin: true,
    sequences: 3,
    contextLength: 64,
    kv: 'f32',
    onProgress: ({ stage }) => stages.push(stage),
  });
  assert.is(model.info.name, 'toy');
  assert.is(model.target, 'toy');
  assert.is(model.threads, 1);
  assert.is(model.contextLength, 64);
  assert.equal(model.tokenize('ab!'), [28, 0, 1, 26]);
  assert.equal(model.tokenize('a</s>', { addBos: false, special: true }), [0, 29]);
  assert.is(model.detokenize([28, 0, 1]), 'ab');
  const memory = model.memory();
  assert.ok(memory.weights === 64 + 512 * 512 * 4 && memory.kv >= 3 * 64 * 4 && memory.resident > memory.workspace);
  assert.equal(stages, ['manifest', 'tokenizer', 'self-test', 'ready']);
  await model.dispose();
});

test('a library of another compilation is refused', async () => {
  const folder = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.key = 'beef';
  });
  const error = await refusal(folder);
  assert.match(error.message, /key 70f0, the manifest says beef/);
  assert.match(error.hint ?? '', 'compile the model again');
});

test('a kernel that computes something else is named, with both checksums', async () => {
  const folder = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.kernels[1]!.checksum = 'abcdef000000000f';
  });
  const { message } = await refusal(folder);
  assert.match(message, /self-test failed: kernel toy_overread .*abcdef0000000001.*abcdef000000000f/);
});

test('other kernels than the manifest lists are refused', async () => {
  const renamed = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.kernels[0]!.name = 'toy_other';
  });
  assert.match((await refusal(renamed)).message, 'no kernel toy_other');
  const fewer = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.kernels.pop();
  });
  assert.match((await refusal(fewer)).message, `${KERNELS.length} kernels, the manifest lists ${KERNELS.length - 1}`);
});

test('a weights file of the wrong size, empty or missing is refused', async () => {
  const folder = toyArtifact();
  const weights = join(folder, 'weights.bin');
  truncateSync(weights, 1000);
  assert.match((await refusal(folder)).message, /holds 1000 bytes, the manifest says 1048640/);
  truncateSync(weights, 0);
  assert.match((await refusal(folder)).message, /holds 0 bytes/);
  rmSync(weights);
  assert.match((await refusal(folder)).message, /weights\.bin cannot be opened/);
});

test('a library that is none, damaged or missing is refused', async () => {
  const none = toyArtifact({}, (manifest) => {
    const { toy } = manifest.targets;
    toy!.library = 'weights.bin';
    toy!.sha256 = manifest.weights.toy!.sha256;
  });
  assert.match((await refusal(none)).message, 'cannot be loaded');
  // The system would end the process where it meets the end of the file.
  const damaged = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.library = 'short.so';
  });
  copyFileSync(toyLibrary(), join(damaged, 'short.so'));
  truncateSync(join(damaged, 'short.so'), 8000);
  assert.match((await refusal(damaged)).message, /short\.so is damaged/);
  const missing = toyArtifact({}, (manifest) => {
    manifest.targets.toy!.library = 'nothing.so';
  });
  assert.match((await refusal(missing)).message, 'nothing.so');
});

test('a folder that is no artifact, a damaged manifest and one of another version are refused', async () => {
  assert.match((await refusal('/nowhere')).message, '/nowhere/manifest.json cannot be read');
  const folder = toyArtifact();
  const file = join(folder, 'manifest.json');
  const { manifest } = await readArtifact(folder);
  writeFileSync(file, '{"format": 1');
  assert.match((await refusal(folder)).message, 'manifest.json is no JSON');
  writeFileSync(file, JSON.stringify({ ...manifest, format: 1 }));
  assert.match(
    (await refusal(folder)).message,
    new RegExp(`of format 1, ABI ${ABI_VERSION}; this runtime reads format ${ARTIFACT_FORMAT}, ABI ${ABI_VERSION}`),
  );
  writeFileSync(file, JSON.stringify({ ...manifest, bytesPerToken: -1 }));
  assert.match((await refusal(folder)).message, 'damaged at bytesPerToken');
  writeFileSync(file, '[]');
  assert.match((await refusal(folder)).message, 'damaged at the top');
});

test('a damaged tokenizer is refused', async () => {
  const folder = toyArtifact();
  const file = join(folder, 'tokenizer.bin');
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
  assert.match((await refusal(folder)).message, /tokenizer\.bin is damaged/);
  rmSync(file);
  assert.match((await refusal(folder)).message, /tokenizer\.bin cannot be read/);
});

test('a context beyond what the model was trained for is refused with both numbers', async () => {
  const { message } = await refusal(toyArtifact(), { contextLength: CONTEXT + 1 });
  assert.match(message, /room for 257 tokens was asked for, the context of toy is 256/);
});

test('a KV cache beyond the memory of the machine is refused', async () => {
  const folder = toyArtifact({}, (manifest) => {
    manifest.model.context = 2 ** 24;
  });
  const { message, hint } = await refusal(folder, { contextLength: 2 ** 24, sequences: 64, kv: 'f32' });
  assert.match(hint ?? '', 'smaller contextLength');
  assert.match(message, /KV cache of 64 sequences of 16777216 positions takes 67108864 MiB, this machine has \d+/);
});

test('opening is cancelled by a signal', async () => {
  const reason = new Error('never mind');
  for (const stage of ['manifest', 'tokenizer', 'self-test']) {
    const abort = new AbortController();
    const onProgress: LoadOptions['onProgress'] = (progress) => progress.stage === stage && abort.abort(reason);
    const outcome = await openArtifact(toyArtifact(), { signal: abort.signal, onProgress }).catch((error) => error);
    assert.is(outcome, reason);
  }
});

const machine = (arch: string, ...features: string[]): Machine => ({ arch, features: new Set(features), cpu: 'test' });

async function manifestWith(
  targets: Record<string, [arch: string, features: string[], rank: number]>,
): Promise<Manifest> {
  const { manifest } = await readArtifact(toyArtifact());
  const toy = manifest.targets.toy!;
  const entries = Object.entries(targets).map(([name, [arch, features, rank]]) => [
    name,
    { ...toy, arch, features, rank },
  ]);
  return { ...manifest, targets: Object.fromEntries(entries) };
}

test('the target of highest rank that the machine can run is chosen', async () => {
  const manifest = await manifestWith({
    ref: ['any', [], 0],
    fast: ['x86-64', ['avx2', 'fma'], 20],
    fastest: ['x86-64', ['avx512_vnni'], 30],
    arm: ['aarch64', ['asimddp'], 40],
  });
  assert.is(chooseTarget(manifest, undefined, machine('x86-64', 'avx2', 'fma', 'avx512_vnni')), 'fastest');
  assert.is(chooseTarget(manifest, undefined, machine('x86-64', 'avx2', 'fma')), 'fast');
  assert.is(chooseTarget(manifest, undefined, machine('x86-64', 'avx2')), 'ref');
  assert.is(chooseTarget(manifest, undefined, machine('aarch64', 'asimddp')), 'arm');
  assert.is(chooseTarget(manifest, 'ref', machine('x86-64', 'avx2', 'fma')), 'ref');
});

test('a target that cannot run here says what is missing', async () => {
  const manifest = await manifestWith({ fast: ['x86-64', ['avx2', 'fma'], 20], arm: ['aarch64', [], 40] });
  const old = machine('x86-64', 'avx2');
  assert.throws(() => chooseTarget(manifest, 'fast', old), /target fast .* the CPU lacks fma$/);
  assert.throws(() => chooseTarget(manifest, 'arm', old), /it is for aarch64, this is x86-64/);
  assert.throws(() => chooseTarget(manifest, 'slow', old), /no target slow, only fast, arm/);
  assert.throws(
    () => chooseTarget(manifest, undefined, old),
    /none of the targets of toy: fast \(.*fma\), arm \(.*aarch64/,
  );
});

test.run();
