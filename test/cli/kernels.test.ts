import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultModel } from '../../index.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { fixture, invoke } from './invoke.ts';

const file = fixture('b158-ragged-i2s.gguf');
const folder = temporaryFolder('cli-kernels');
const ini = join(folder, 'tiles.ini');

const kernels = suite('kernels on the command line');

/** The kernels and reasons of explain, as JSON, but for the matrices that are read in part. */
async function explained(...options: string[]) {
  const { code, stdout, stderr } = await invoke(['explain', file, '--json', ...options]);
  assert.is(code, 0, stderr);
  const [target] = JSON.parse(stdout).targets;
  const whole = target.matrices.filter(({ use }: { use: string }) => use !== 'up' && use !== 'down');
  assert.is(whole.length, target.matrices.length - 2);
  return whole.map(({ use, kernels: [gemv, gemm] }: { use: string; kernels: Record<string, string>[] }) => ({
    use,
    gemv: gemv.name,
    gemm: gemm.name,
    reason: gemv.reason,
  }));
}

kernels('--kernel chooses, and explain says so', async () => {
  for (const { gemv, reason } of await explained()) {
    assert.match(gemv, /^bn_bitlinear_i2_gemv_/);
    assert.is(reason, 'heuristic');
  }
  for (const kernel of ['tl1', 'tl2']) {
    for (const { gemv, gemm, reason } of await explained('--kernel', kernel)) {
      assert.match(gemv, new RegExp(`^bn_bitlinear_${kernel}_gemv_`));
      assert.match(gemm, new RegExp(`^bn_bitlinear_${kernel}_gemm_`));
      assert.is(reason, `${kernel} was asked for: default tile`);
    }
  }
});

kernels('what --emit-ini writes, --config reads: the kernels are the same', async () => {
  for (const kernel of ['tl1', 'tl2']) {
    const { code, stderr } = await invoke(['compile', file, '--kernel', kernel, '--emit-ini', ini, '--dump=plan']);
    assert.is(code, 0, stderr);
    assert.match(readFileSync(ini, 'utf8'), /^\[Kernels_0\]\nm = 384\nk = 384\nbm = 64\nbk = \d+\nbmm = 32\n/);
    const names = (all: Awaited<ReturnType<typeof explained>>) =>
      all.map(({ use, gemv, gemm }: Record<string, string>) => [use, gemv, gemm]);
    const [before, after] = [await explained('--kernel', kernel), await explained('--kernel', kernel, '--config', ini)];
    assert.equal(names(after), names(before));
    assert.match(after[0].reason, /^tiles\.ini \[Kernels_0\]/);
  }
});

kernels('--head is what explain says of the tables, and is refused where its blocks are no part of a row', async () => {
  const tables = async (...options: string[]) =>
    JSON.parse((await invoke(['explain', file, '--json', ...options])).stdout).tables.map(
      ({ name, encoding }: Record<string, string>) => `${name} ${encoding}`,
    );
  const [embedding, ...own] = await tables();
  assert.equal(own, []);
  assert.equal(await tables('--head', 'q4_0'), [embedding, 'head q4_0']);
  const { code, stderr } = await invoke(['explain', file, '--head', 'q6_k']);
  assert.is(code, 1);
  assert.match(stderr, /a head of \d+ columns cannot be q6_k, which has blocks of 256/);
});

kernels('a tile is shown as the .ini has it', async () => {
  const { stdout } = await invoke(['explain', file, '--kernel', 'tl2', '--target', 'ref']);
  assert.match(stdout, /64 × 192 × 32 × 1/);
  assert.match(stdout, /weights in layout tl2_r16c96/);
});

kernels('an .ini that does not suit is refused, with its line and what would fit, and nothing is written', async () => {
  writeFileSync(ini, '[Kernels_0]\nm = 384\nk = 384\nbm = 100\nbk = 64\nbmm = 32\n');
  const out = join(folder, 'generated');
  for (const [options, message, hint] of [
    [['--kernel', 'tl1'], /tiles\.ini:4: BM of \[Kernels_0\] is 100/, /nearest values that fit are 96 and 128/],
    [['--kernel', 'tl2'], /tiles\.ini:4: BM/, /96 and 128/],
    [[], /holds the tiles of neither tl1 nor tl2/, /mend the file/],
  ] as const) {
    const { code, stdout, stderr } = await invoke(['compile', file, '--config', ini, '--out', out, ...options]);
    assert.is(code, 1);
    assert.is(stdout, '');
    assert.match(stderr, message);
    assert.match(stderr, hint);
  }
  assert.not.ok(existsSync(out));
});

kernels('options that would do nothing are refused', async () => {
  const config = join(folder, 'i2.ini');
  const i2 = await invoke(['compile', file, '--dump=plan', '--emit-ini', config]);
  assert.is(i2.code, 1);
  assert.match(i2.stderr, /no configuration to write/);
  assert.not.ok(existsSync(config));
  const missing = await invoke(['compile', file, '--config', join(folder, 'none.ini')]);
  assert.is(missing.code, 1);
  assert.match(missing.stderr, /cannot read .*none\.ini/);
  const unknown = await invoke(['compile', file, '--kernel', 'tl3']);
  assert.is.not(unknown.code, 0);
  assert.match(unknown.stderr, /auto, i2, tl1, tl2/);
  writeFileSync(join(folder, 'manifest.json'), '{}');
  const built = await invoke(['explain', folder, '--kernel', 'tl1']);
  assert.is.not(built.code, 0);
  assert.match(built.stderr, /compiled already/);
});

kernels('a command that runs a model takes the .ini that its weights are laid out by', async () => {
  const converted = join(folder, 'tl2.gguf');
  assert.is((await invoke(['convert', defaultModel(), converted, '--to', 'gguf', '--type', 'tl2'])).code, 0);
  const story = (model: string, ...more: string[]) =>
    invoke(['run', model, '-p', 'Once', '-n', '8', '--temp', '0', '--quiet', '--out', join(folder, 'out'), ...more]);
  assert.match((await story(converted)).stderr, /--config FILE\.ini/);
  const told = await story(converted, '--config', `${converted}.ini`, '--kernel', 'i2');
  assert.is(told.code, 0);
  assert.is(told.stdout, (await story(defaultModel())).stdout);
});

kernels.run();
