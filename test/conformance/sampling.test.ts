// What draws tokens on a GPU, run thread by thread on this CPU, against the engine's sampler: token for token.
import { execFile } from 'node:child_process';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { packageRoot } from '../../package-root.ts';
import { targets } from '../../targets/index.ts';
import { temporaryFolder } from '../support/temporary.ts';

const run = promisify(execFile);

/** Texts by vocabulary: of one slice and of many, whole slices and not. */
const TEXTS: Readonly<Record<number, number>> = { 1: 100, 7: 200, 1000: 120, 4096: 30, 4097: 30, 32000: 8, 128256: 2 };

/** Files of the program's that are the same on a GPU, and what stands for a block of its threads. */
const SOURCES = [
  ...['abi.h', 'cuda.h', 'sampling.h'].map((file) => join('artifact', file)),
  ...['candidate.cuh', 'draw.cuh', 'text.cuh'].map((file) => join('templates', 'cuda', file)),
  ...['block.cuh', 'sampling.cpp'].map((file) => join('test', 'conformance', file)),
];

const sampling = suite('sampling as GPUs do');
const folder = temporaryFolder('sampling');
const root = packageRoot();

const compiler = await findCompiler(targets[0]);
let building: Promise<string> | undefined;

async function build(): Promise<string> {
  for (const file of SOURCES) copyFileSync(join(root, file), join(folder, file.split(/[\\/]/).at(-1)!));
  const program = join(folder, 'sampling');
  const flags = ['-std=c++20', '-O2', '-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas'];
  const includes = [folder, join(root, 'runtime', 'native'), root].map((path) => `-I${path}`);
  const sources = [join(folder, 'sampling.cpp'), join(root, 'runtime', 'native', 'engine', 'sampler.cpp')];
  await run(compiler.command, [...flags, ...includes, ...sources, '-o', program]);
  return program;
}

for (const [vocab, texts] of Object.entries(TEXTS)) {
  sampling(`of ${vocab} logits the same tokens are drawn`, async () => {
    building ??= build();
    const { stdout } = await run(await building, [vocab, String(texts), '1']);
    const { drawn, differ, first } = JSON.parse(stdout);
    assert.is(drawn, 12 * texts);
    assert.is(differ, 0, first);
  });
}

sampling.run();
