import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findCompiler, importModel, readTuned, writeTuned } from '../../compiler/index.ts';
import { LAYOUTS } from '../../compiler/kernels/index.ts';
import { nativeTarget, targets } from '../../targets/index.ts';
import { suiteEnvironment } from '../support/environment.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { madeUpTuning } from '../support/tuning.ts';
import { fixture, invoke } from './invoke.ts';

const model = fixture('b158-ragged-i2s.gguf');
const folder = temporaryFolder('cli-tune');
const file = join(folder, 'tuned.json');

const tune = suite('bitnet tune');
suiteEnvironment(tune, { BITNET_CACHE: join(folder, 'cache') });

/** A tuned file of what might have been measured here. */
async function write(changes: object = {}): Promise<void> {
  const target = nativeTarget();
  const layouts = [LAYOUTS.tl2.id, LAYOUTS.i2.id];
  const made = madeUpTuning(await importModel(model), target, layouts, (await findCompiler(target)).version);
  await writeTuned(file, { ...made, ...changes });
}

tune('when there is no time the default stays, and the next tuning goes on', async () => {
  const out = join(folder, 'short.json');
  const report = join(folder, 'report.html');
  const { code, stdout, stderr } = await invoke([
    'tune',
    model,
    '--minutes',
    '0.0001',
    '--out',
    out,
    '--report',
    report,
  ]);
  assert.is(code, 0, stderr);
  assert.match(stdout, /the default kernels will be compiled; time ran out before all was measured/);
  assert.ok(stdout.includes(out));
  const tuned = await readTuned(out);
  assert.equal([tuned.choice, tuned.complete, tuned.target], ['default', false, nativeTarget().id]);
  assert.ok(existsSync(`${out}.state`));
  assert.match(readFileSync(report, 'utf8'), /^<!doctype html>/);
  const json = await invoke(['tune', model, '--minutes', '0.0001', '--out', out, '--json', '--fresh', '-t', '1']);
  assert.is(json.code, 0);
  assert.is(json.stderr, '');
  assert.equal([JSON.parse(json.stdout).file, JSON.parse(json.stdout).threads], [out, 1]);
  const ini = join(folder, 'tiles.ini');
  const none = await invoke(['tune', model, '--minutes', '0.0001', '--out', out, '--emit-ini', ini]);
  assert.is(none.code, 1);
  assert.match(none.stderr, /no kernel of table look-ups was timed[\s\S]*hint: give it more time/);
  assert.not.ok(existsSync(ini));
});

tune('a damaged state begins anew, and says so', async () => {
  const out = join(folder, 'damaged.json');
  writeFileSync(`${out}.state`, 'not this');
  const { code, stderr } = await invoke(['tune', model, '--minutes', '0.0001', '--out', out]);
  assert.is(code, 0);
  assert.match(stderr, /notice: .*damaged\.json\.state is damaged: tuning begins anew/);
});

tune('what cannot be is refused with what to do', async () => {
  const absent = targets.find(({ arch }) => arch !== nativeTarget().arch && arch !== 'any')!;
  const folderInTheWay = join(folder, 'a-folder.json');
  mkdirSync(`${folderInTheWay}.state`, { recursive: true });
  for (const [argv, code, message] of [
    [['--minutes', '0'], 2, /more than 0/],
    [['--threads', '0'], 2, /1 or more/],
    [['--target', 'z80'], 1, /no target 'z80'/],
    [['--target', absent.id], 1, /does not run on this machine/],
    [['--target', 'all'], 1, /one target at a time/],
    [['--target', 'cuda', '--emit-ini', 'tiles.ini'], 1, /target cuda has none/],
    [['--out', folderInTheWay], 1, /cannot write .*a-folder\.json\.state/],
  ] as const) {
    const outcome = await invoke(['tune', model, '--minutes', '0.0001', ...argv]);
    assert.is(outcome.code, code, outcome.stderr);
    assert.match(outcome.stderr, message);
  }
  assert.is((await invoke(['tune', join(folder, 'none.gguf')])).code, 1);
});

tune('explain shows what a tuned file gives each matrix', async () => {
  await write();
  const { code, stdout, stderr } = await invoke(['explain', model, '--tuned', file]);
  assert.is(code, 0, stderr);
  assert.match(stdout, /weights in layout tl2_r16c96\+i2_r16c16/);
  assert.match(stdout, /tuned: made up/);
  const plain = await invoke(['explain', model, '--no-tuned']);
  assert.match(plain.stdout, /weights in layout i2_r16c16\b/);
});

tune('compile refuses a stale file, and one beside a kernel', async () => {
  await write({ compiler: 'c++ 0' });
  const stale = await invoke(['compile', model, '--tuned', file, '--threads', '1', '--out', join(folder, 'out')]);
  assert.is(stale.code, 1);
  assert.match(stale.stderr, /is stale: the C\+\+ compiler was c\+\+ 0 and is .*\nhint: tune the model again/);
  await write();
  const threads = await invoke(['compile', model, '--tuned', file, '--threads', '3', '--out', join(folder, 'out')]);
  assert.match(threads.stderr, /the number of threads was 1 and is 3/);
  const both = await invoke(['explain', model, '--tuned', file, '--kernel', 'tl1']);
  assert.is(both.code, 1);
  assert.match(both.stderr, /both asked for/);
  const none = await invoke(['explain', model, '--tuned', join(folder, 'none.json')]);
  assert.match(none.stderr, /cannot read .*none\.json.*\nhint: bitnet tune MODEL makes one/);
  assert.not.ok(existsSync(join(folder, 'out')));
});

tune.run();
