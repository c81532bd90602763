import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { importModel } from '../../compiler/import/index.ts';
import { compile } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { nativeTarget } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';
import { compileInProcess } from '../support/compile-process.ts';
import { refusal } from '../support/refusal.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { digestTree } from '../support/tree.ts';

/** The target that every machine builds for. */
const TARGET = 'ref';
const FIXTURE = join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf');
const SMALL: Description = {
  architecture: 'bitnet-b1.58',
  embedding: 64,
  ffn: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  vocab: 40,
  ropeBase: 10000,
  epsilon: 1e-5,
  embeddingEncoding: 'f32',
  scaleTensors: true,
  seed: 7,
};

const compiling = suite('compile');
const folder = temporaryFolder('compile');

function save(name: string, bytes: Uint8Array): string {
  const path = join(folder, `${name}.gguf`);
  writeFileSync(path, bytes);
  return path;
}

/** The small model with the bytes of one tensor changed. */
async function withTensor(name: string, change: (bytes: Buffer) => void): Promise<string> {
  const { file } = synthetic(SMALL);
  const path = save(`changed-${name}`, file);
  const tensor = (await importModel(path)).tensors.find((candidate) => candidate.name === name)!;
  change(file.subarray(tensor.offset, tensor.offset + tensor.bytes));
  writeFileSync(path, file);
  return path;
}

/** The small model with some bytes of its header replaced by as many others. */
function withHeader(from: string, to: string): string {
  const { file } = synthetic(SMALL);
  const at = file.indexOf(from);
  assert.ok(at > 0 && from.length === to.length);
  file.write(to, at);
  return save(`header-${to}`, file);
}

const refused = (path: string) => refusal(() => compile(path, { target: TARGET, out: join(folder, 'refused') }));

compiling('the small model compiles as long as nobody harms it', async () => {
  const { kernels, artifact, manifest } = await compile(save('small', synthetic(SMALL).file), {
    target: TARGET,
    out: folder,
  });
  assert.ok(kernels.length > 0);
  assert.equal(readdirSync(artifact).sort(), ['index.ts', 'manifest.json', TARGET, manifest.tokenizer.file, 'weights']);
});

const CONTENTS: Readonly<Record<string, { tensor: string; change(bytes: Buffer): void; message: RegExp }>> = {
  'a code that is not ternary': {
    tensor: 'blk.1.ffn_up.weight',
    change: (bytes) => bytes.fill(0xff, 100, 101),
    message: /tensor blk\.1\.ffn_up\.weight: weight \d+ .*code 3/,
  },
  'a weight scale that is no number': {
    tensor: 'blk.0.attn_q.weight',
    change: (bytes) => bytes.writeFloatLE(Number.NaN, (64 * 64) / 4),
    message: /tensor blk\.0\.attn_q\.weight: .*NaN/,
  },
  'a norm that is no number': {
    tensor: 'blk.1.attn_norm.weight',
    change: (bytes) => bytes.writeFloatLE(Number.NaN, 8),
    message: /tensor blk\.1\.attn_norm\.weight: value 2 is NaN/,
  },
  'an infinite scale tensor': {
    tensor: 'blk.0.ffn_down.scale',
    change: (bytes) => bytes.writeFloatLE(Number.POSITIVE_INFINITY),
    message: /tensor blk\.0\.ffn_down\.scale: value 0 is Infinity/,
  },
};
for (const [title, { tensor, change, message }] of Object.entries(CONTENTS)) {
  compiling(`${title} is refused by its tensor's name, and leaves nothing behind`, async () => {
    assert.match((await refused(await withTensor(tensor, change))).message, message);
    assert.equal(readdirSync(join(folder, 'refused')), []);
  });
}

compiling('a missing tensor is named, and so is one too many', async () => {
  const error = await refused(withHeader('blk.1.attn_norm.weight', 'blk.1.attn_nobm.weight'));
  assert.match(error.message, /tensor blk\.1\.attn_norm\.weight is missing/);
  const path = withHeader('blk.1.attn_q.scale', 'blk.1.attn_q.scali');
  assert.match((await refused(path)).message, /tensor blk\.1\.attn_q\.scali is not part of/);
});

compiling('an architecture that is not known is named', async () => {
  const path = withHeader('bitnet-b1.58', 'bitnet-b9.99');
  // Its keys have another prefix then, and the first of them is missed.
  assert.match((await refused(path)).message, /bitnet-b9\.99/);
});

compiling('a wrong target is refused with the list of targets', async () => {
  const error = await refusal(() => compile(FIXTURE, { target: 'pdp-11', out: folder }));
  assert.match(error.message, /no target 'pdp-11'/);
  assert.match(error.hint!, /ref, /);
});

compiling('where no compiler is installed, the error says what to install', async () => {
  const [empty, out] = [join(folder, 'no-programs'), join(folder, 'no-compiler')];
  mkdirSync(empty);
  const environments: Record<string, string>[] = [{ PATH: empty, CXX: '' }, { CXX: join(empty, 'g++-99') }];
  for (const environment of environments) {
    const { error, hint } = await compileInProcess(FIXTURE, out, TARGET, environment);
    assert.match(error!, /no C\+\+ compiler/);
    assert.match(hint!, /apt-get install g\+\+ cmake/);
  }
});

compiling('where cmake is not installed, the error says so', async () => {
  const programs = join(folder, 'compiler-only');
  mkdirSync(programs);
  const compiler = execFileSync('sh', ['-c', 'command -v g++ || command -v clang++'], { encoding: 'utf8' }).trim();
  symlinkSync(compiler, join(programs, basename(compiler)));
  const environment = { PATH: programs, CXX: '', BITNET_CACHE: join(folder, 'no-cmake-cache') };
  const { error, hint } = await compileInProcess(FIXTURE, join(folder, 'no-cmake'), TARGET, environment);
  assert.match(error!, /cmake was not found/);
  assert.match(hint!, /apt-get install cmake/);
  assert.equal(readdirSync(join(folder, 'no-cmake')), []);
});

compiling('a compiler that fails is quoted, and nothing half-built is left', async () => {
  const compiler = join(folder, 'broken-g++');
  writeFileSync(
    compiler,
    '#!/bin/sh\n[ "$1" = --version ] && echo broken 1.0 && exit 0\necho "error: no" >&2; exit 1\n',
  );
  execFileSync('chmod', ['+x', compiler]);
  const { error } = await compileInProcess(FIXTURE, join(folder, 'broken'), TARGET, { CXX: compiler });
  assert.match(error!, /cmake .* failed/);
  assert.equal(readdirSync(join(folder, 'broken')), []);
});

compiling(
  'two compilations give the same bytes, in whatever folder and cache; nothing in them says where or when',
  async () => {
    const runs = ['one', 'another-and-longer'].map(async (name) => {
      const out = join(folder, name, 'out');
      const { artifact } = await compileInProcess(FIXTURE, out, TARGET, { BITNET_CACHE: join(folder, name, 'cache') });
      return artifact!;
    });
    const [first, second] = await Promise.all(runs);
    assert.is(basename(first), basename(second));
    assert.equal(digestTree(first), digestTree(second));
    for (const [file] of Object.entries(digestTree(first))) {
      const contents = readFileSync(join(first, file), 'latin1');
      assert.not.ok(contents.includes(folder), `${file} holds the path of the output`);
      assert.not.ok(contents.includes(packageRoot()), `${file} holds the path of the compiler`);
      assert.not.ok(contents.includes(dirname(FIXTURE)), `${file} holds the path of the model`);
    }
  },
);

compiling('a second compilation has nothing to do', async () => {
  const out = join(folder, 'twice');
  assert.is((await compile(FIXTURE, { target: TARGET, out })).cached, false);
  const { artifact, cached } = await compile(FIXTURE, { target: TARGET, out });
  assert.is(cached, true);
  const before = digestTree(artifact);
  await compile(FIXTURE, { target: TARGET, out });
  assert.equal(digestTree(artifact), before);
});

compiling('two processes that compile the same model at once end with one whole artifact', async () => {
  const out = join(folder, 'at-once');
  const environment = { BITNET_CACHE: join(folder, 'at-once-cache') };
  const results = await Promise.all([1, 2].map(() => compileInProcess(FIXTURE, out, TARGET, environment)));
  assert.is(results[0].artifact, results[1].artifact);
  assert.equal(readdirSync(out), [basename(results[0].artifact!)]);
  assert.equal(results.map(({ cached }) => cached).sort(), [false, true]);
  const { artifact } = await compile(FIXTURE, { target: TARGET, out: join(folder, 'alone') });
  assert.equal(digestTree(results[0].artifact!), digestTree(artifact));
});

compiling('a target that is added leaves what is there as it was', async () => {
  const native = nativeTarget();
  if (native.id === TARGET) return;
  const out = join(folder, 'added');
  const { artifact } = await compile(FIXTURE, { target: TARGET, out });
  const before = digestTree(artifact);
  const added = await compile(FIXTURE, { target: native.id, out });
  assert.is(added.artifact, artifact);
  assert.equal(Object.keys(added.manifest.targets).sort(), [TARGET, native.id].sort());
  const after = digestTree(artifact);
  for (const [file, digest] of Object.entries(before)) {
    if (file !== 'manifest.json' && file !== 'index.ts') assert.is(after[file], digest, file);
  }
  assert.ok(after[join(native.id, 'model.so')]);
});

compiling('what is damaged or missing is made anew', async () => {
  const out = join(folder, 'damaged');
  const { artifact, manifest } = await compile(FIXTURE, { target: TARGET, out });
  const whole = digestTree(artifact);
  const [weights] = Object.values(manifest.weights);
  const harm: Readonly<Record<string, () => void>> = {
    'an empty manifest': () => writeFileSync(join(artifact, 'manifest.json'), ''),
    'half a manifest': () => writeFileSync(join(artifact, 'manifest.json'), '{"format": 1'),
    'another format': () => writeFileSync(join(artifact, 'manifest.json'), '{"format": 0}'),
    'no manifest': () => rmSync(join(artifact, 'manifest.json')),
    'no library': () => rmSync(join(artifact, TARGET, 'model.so')),
    'a library that ends early': () => truncateSync(join(artifact, TARGET, 'model.so'), 1000),
    'no weights': () => rmSync(join(artifact, 'weights'), { recursive: true }),
    'no tokenizer': () => rmSync(join(artifact, manifest.tokenizer.file)),
    'another tokenizer': () => writeFileSync(join(artifact, manifest.tokenizer.file), 'x'),
    'weights that end early': () => truncateSync(join(artifact, weights.file), weights.bytes / 2),
    'leftovers of a compilation': () => mkdirSync(`${artifact}.partial/ref/build`, { recursive: true }),
  };
  for (const [title, work] of Object.entries(harm)) {
    work();
    await compile(FIXTURE, { target: TARGET, out });
    assert.equal(digestTree(artifact), whole, title);
    assert.equal(readdirSync(out), [basename(artifact)], title);
  }
});

const disk = join(folder, 'disk');

/** Runs `work` with a file system on `disk` that holds so many kilobytes. */
async function onSmallDisk(kilobytes: number, work: () => Promise<void>): Promise<void> {
  mkdirSync(disk, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', disk], { stdio: 'pipe' });
  try {
    await work();
  } finally {
    execFileSync('umount', [disk]);
  }
}

/** Why no small disk can be made here, if that is so. */
const noSmallDisk = await onSmallDisk(4, async () => {}).then(
  () => undefined,
  (error) => String(error.stderr ?? error.message).trim(),
);
const fullDisk = 'a full disk is an error that says so, and leaves nothing half-written';
if (noSmallDisk !== undefined) skip(compiling, fullDisk, `a small disk cannot be mounted here: ${noSmallDisk}`);
else {
  compiling(fullDisk, async () => {
    // The artifact takes some 700 kB.
    for (const kilobytes of [16, 64, 200, 400, 560, 600]) {
      await onSmallDisk(kilobytes, async () => {
        const error = await refusal(() => compile(FIXTURE, { target: TARGET, out: disk }));
        assert.match(error.message, /ENOSPC|No space left/);
        assert.equal(readdirSync(disk), [], `${kilobytes} kB`);
      });
    }
  });
}

compiling.run();
