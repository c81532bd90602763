// A model compiled for WebGL, where it must be refused. What it computes is in test/model, and in test/browser on a GPU.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { texelKernel } from '../../compiler/kernels/bitlinear-texel.ts';
import { openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import type { Matrices } from '../../runtime/src/webgl/matrices.ts';
import { selfTest } from '../../runtime/src/webgl/self-test.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { webGlOnCpu } from '../support/webgl.ts';

const MODEL = join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf');
const TOKEN = { id: 1, position: 0, sequence: 0, logitsRow: 0, hiddenRow: -1 };

const tests = suite('target webgl');
const folder = temporaryFolder('webgl');

tests('a matrix whose sums float32 cannot hold is refused, and one of too many texels', async () => {
  assert.is(texelKernel({ m: 6912, k: 65536 }, 'webgl').tile.rows, 4);
  const wide = await refusal(() => texelKernel({ m: 16, k: 65537 }, 'webgl'));
  assert.match(wide.message, 'bitlinear_texel m=16 k=65537 t=4x32x1: k can overflow the integers of a float32');
  const large = await refusal(() => texelKernel({ m: 2 ** 18, k: 4096 }, 'webgl'));
  assert.match(large.message, 'it has more than 2^24 texels');
});

tests('kernels of CPUs, and screened heads, are refused', async () => {
  const asked = (options: object) => refusal(() => compile(MODEL, { target: 'webgl', out: folder, ...options }));
  assert.match((await asked({ kernel: 'tl2' })).message, 'kernel tl2 is for CPUs');
  assert.match((await asked({ screen: 5 })).message, 'screened heads are for CPUs');
});

tests('under Node it says where it runs', async () => {
  const { artifact } = await compile(MODEL, { target: 'webgl', out: folder });
  const { message } = await refusal(() => openArtifact(artifact, { target: 'webgl' }));
  assert.match(message, 'target webgl does not run on this machine: it is for browsers');
});

tests('the artifact holds its kernels, to be read', async () => {
  const { artifact, manifest } = await compile(MODEL, { target: 'webgl', out: folder });
  const { kernels } = JSON.parse(readFileSync(join(artifact, 'webgl', 'model.json'), 'utf8'));
  assert.equal(
    Object.keys(kernels),
    manifest.targets.webgl.kernels.map(({ name }) => name),
  );
  for (const [name, text] of Object.entries(kernels)) {
    assert.is(readFileSync(join(artifact, 'webgl', 'kernels', `${name}.js`), 'utf8'), text);
  }
});

tests('weights that are not those that were compiled are found out', async () => {
  const { executor, upload, kernels } = await webGlOnCpu(MODEL, folder);
  const [{ codes }] = executor.program.matrices;
  executor.weights[executor.program.layerBase + codes] ^= 1;
  executor.give(upload);
  const { message, hint } = await refusal(() => selfTest(executor, kernels));
  assert.match(message, /self-test failed: kernel bn_bitlinear_texel_\w+ computed the checksum [0-9a-f]{16}/);
  assert.match(hint!, 'take another target');
  const other = await refusal(() => selfTest(executor, kernels.slice(1)));
  assert.match(other.message, /the program has the kernel \w+, which the manifest does not list/);
});

tests('texts that share the place of a sequence do not see each other', async () => {
  const { executor } = await webGlOnCpu(MODEL, folder);
  const ids = [5, 9, 2];
  const text = (sequence: number, others = 0) =>
    ids.map((id, position) => ({ id, position, sequence, logitsRow: -1, hiddenRow: others + position }));
  const alone = executor.step(text(0)).hidden.slice();
  assert.is(alone.length, ids.length * executor.embedding);
  const part = { sequence: 1, positions: ids.length };
  assert.ok(executor.sequencesInPart(ids.length) > 2);
  const { hidden } = executor.step([...text(0), ...text(2, ids.length)], { part });
  assert.equal([...hidden], [...alone, ...alone]);
});

tests('the machine is measured, until it is told to stop', async () => {
  const { executor } = await webGlOnCpu(MODEL, folder);
  const { readBytesPerSecond, int8MacsPerSecond } = executor.limits(() => false);
  assert.ok(readBytesPerSecond > 1e6 && int8MacsPerSecond > 1e3);
  assert.equal(
    executor.limits(() => true),
    { readBytesPerSecond: 0, int8MacsPerSecond: 0 },
  );
});

tests('a GPU that is lost is replaced once for each product', async () => {
  const { executor, upload } = await webGlOnCpu(MODEL, folder);
  const expected = executor.step([TOKEN]).logits.slice();
  let lost = 0;
  const losing = (times: number) => (weights: Uint8Array<ArrayBuffer>) => {
    const matrices = upload(weights);
    if (lost++ >= times) return matrices;
    return { lost: true, sums: () => new Float32Array(0) } as unknown as Matrices;
  };
  executor.give(losing(1));
  assert.equal(executor.step([TOKEN]).logits, expected);
  assert.is(lost, 2);
  executor.give(losing(Number.POSITIVE_INFINITY));
  const { message, hint } = await refusal(() => executor.step([TOKEN]));
  assert.match(message, 'the GPU was lost, and the next one too');
  assert.match(hint!, 'Load the model again');
});

tests.run();
