// What draws tokens on a GPU, run thread by thread on this CPU, against the engine's sampler: token for token.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { packageRoot } from '../../package-root.ts';
import { targets } from '../../targets/index.ts';
import { copyDrawing } from '../support/draw-on-cpu.ts';
import { temporaryFolder } from '../support/temporary.ts';

const run = promisify(execFile);

/** Texts by vocabulary: those of sampling.cpp. */
const TEXTS: Readonly<Record<number, number>> = { 1: 100, 7: 200, 1000: 120, 4096: 30, 4097: 30, 128256: 3 };

const sampling = suite('sampling as GPUs do');
const folder = temporaryFolder('sampling');
const root = packageRoot();

const compiler = await findCompiler(targets[0]);
let building: Promise<string> | undefined;

async function build(): Promise<string> {
  copyDrawing(folder);
  const program = join(folder, 'sampling');
  const flags = ['-std=c++20', '-O1', '-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas'];
  const includes = [folder, join(root, 'runtime', 'native'), root].map((path) => `-I${path}`);
  const sources = ['test/conformance/sampling.cpp', 'runtime/native/engine/sampler.cpp'].map((file) =>
    join(root, file),
  );
  await run(compiler.command, [...flags, ...includes, ...sources, '-o', program]);
  return program;
}

sampling('weights are those of a softmax, to eight digits', async () => {
  building ??= build();
  const { stdout } = await run(await building, []);
  assert.ok(Number(stdout) > 0 && Number(stdout) < 2 ** -28.5, stdout);
});

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
