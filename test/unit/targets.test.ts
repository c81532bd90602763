import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Machine, WASM } from '../../artifact/machine.ts';
import { packageRoot } from '../../package-root.ts';
import {
  canRun,
  gpuTargets,
  nativeTarget,
  parseTargets,
  requireRunnable,
  shareable,
  targets,
} from '../../targets/index.ts';
import { refusal } from '../support/refusal.ts';

const machine = (arch: string, ...features: string[]): Machine => ({ arch, features: new Set(features), cpu: 'a CPU' });

const AVX2 = ['avx2', 'fma', 'f16c'];
const AVX512 = [...AVX2, 'avx512f', 'avx512bw', 'avx512dq', 'avx512vl', 'avx512_vnni'];

test('the best target that a machine can run is taken', () => {
  const best = (...args: Parameters<typeof machine>) => nativeTarget(machine(...args)).id;
  assert.is(best('x86-64', ...AVX512), 'x86-avx512vnni');
  assert.is(best('x86-64', ...AVX512.filter((feature) => feature !== 'avx512_vnni')), 'x86-avx2');
  assert.is(best('x86-64', ...AVX2), 'x86-avx2');
  assert.is(best('x86-64', 'avx2'), 'ref');
  assert.is(best('aarch64', 'asimd', 'asimddp'), 'arm-neon');
  assert.is(best('aarch64', 'asimd'), 'ref');
  assert.is(best('riscv64', ...AVX512), 'ref');
});

test('a machine of another architecture cannot run a target, whatever its features', () => {
  for (const target of targets.filter(({ arch }) => arch !== 'any' && arch !== WASM)) {
    assert.ok(canRun(target, machine(target.arch, ...target.features)));
    assert.not.ok(canRun(target, machine('pdp-11', ...target.features)));
  }
});

test("WebAssembly runs on any machine, and is nobody's best", () => {
  const [target] = parseTargets('wasm-simd128');
  assert.is(target.arch, WASM);
  assert.ok(canRun(target, machine('pdp-11')));
  assert.is(nativeTarget(machine('pdp-11')).id, 'ref');
});

test('the first target runs anywhere, and no two share an id or folder', () => {
  assert.ok(canRun(targets[0], machine('anything')));
  assert.is(new Set(targets.map(({ id }) => id)).size, targets.length);
  const folders = readdirSync(join(packageRoot(), 'targets'), { withFileTypes: true }).filter((e) => e.isDirectory());
  assert.equal(folders.map(({ name }) => name).sort(), [...targets, ...gpuTargets].map(({ id }) => id).sort());
  for (const { id } of targets) assert.ok(existsSync(join(packageRoot(), 'targets', id, 'primitives.h')), id);
});

test('lists of targets are read as the command line gives them', async () => {
  const ids = (text: string) => parseTargets(text).map(({ id }) => id);
  assert.equal(
    ids('all'),
    targets.map(({ id }) => id),
  );
  assert.equal(ids('native'), [nativeTarget().id]);
  assert.equal(ids('ref'), ['ref']);
  assert.equal(ids('x86-avx2, ref,ref'), ['x86-avx2', 'ref']);
  for (const text of ['', 'ref,', 'REF', 'all,ref']) {
    const error = await refusal(() => parseTargets(text));
    assert.match(error.message, /there is no target/);
    assert.match(error.hint!, /arm-neon/);
  }
});

test('a list falls into what one compilation takes', () => {
  assert.equal(shareable('native'), ['native']);
  assert.equal(shareable('webgl, wasm-simd128,ref,webgpu'), ['webgl', 'webgpu', 'wasm-simd128,ref']);
  assert.equal(shareable('webgl'), ['webgl']);
});

test('a GPU is a target by itself, and whether there is one is for the engine to say', async () => {
  for (const { id } of gpuTargets) if (id !== 'webgl') requireRunnable(id);
  const browsers = await refusal(() => requireRunnable('webgl'));
  assert.match(browsers.message, 'target webgl is for browsers');
  assert.match(browsers.hint!, '--web');
  for (const [id, text] of gpuTargets.flatMap((gpu) => [
    [gpu.id, gpu.id],
    [gpu.id, `ref,${gpu.id}`],
  ])) {
    const error = await refusal(() => parseTargets(text));
    assert.match(error.message, `${id} packs weights in a way of its own`);
    assert.match(error.hint!, /by itself/);
  }
});

test.run();
