// Fails where a speed, as a share of what the machine does beside it, has fallen by more than a tenth since the baseline.
// What seems to have fallen is measured again, and has only where it stays so:
//   npm run bench:check [-- --update] [--shape 2b4t] [--target ID] [--threads N] [--repetitions 6] [--baseline FILE]
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { probeMachine, WASM } from '../../artifact/machine.ts';
import { number, percent, table } from '../../cli/format.ts';
import { packageRoot } from '../../package-root.ts';
import { canRun, targets } from '../../targets/index.ts';
import { measureModel, shapeSubject } from '../model/measure.ts';
import { intervalText } from '../report/bars.ts';
import { baselineKey, checkResult, confirm, readBaseline, withResult } from './baseline.ts';

const { values } = parseArgs({
  options: {
    update: { type: 'boolean', default: false },
    shape: { type: 'string', default: '2b4t' },
    target: { type: 'string' },
    threads: { type: 'string' },
    repetitions: { type: 'string', default: '6' },
    baseline: { type: 'string', default: join(packageRoot(), 'bench', 'results', 'baseline.json') },
  },
});

/** How often what seems lost is measured again. */
const AGAIN = 2;

const machine = probeMachine();
// The portable target is there to be right, not fast; the speed of WebAssembly is that of the engine, too.
const runnable = targets
  .filter((target) => target.id !== 'ref' && target.arch !== WASM && canRun(target, machine))
  .map(({ id }) => id);
const { path, out } = await shapeSubject(values.shape);
let stored = await readBaseline(values.baseline);
let failed = false;
for (const target of values.target === undefined ? runnable : [values.target]) {
  const measure = async () => {
    const measured = await measureModel(path, {
      target,
      out,
      promptTokens: [128],
      newTokens: 16,
      contexts: [0],
      sequences: [1],
      repetitions: Number(values.repetitions),
      ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
    });
    return { ...measured, model: values.shape };
  };
  const report = await measure();
  let findings = checkResult(stored, report);
  for (let i = 0; i < AGAIN && !values.update && findings.some(({ verdict }) => verdict === 'lost'); i++) {
    console.log(`${baselineKey(report)}: measuring again what seems lost`);
    findings = confirm(findings, checkResult(stored, await measure()));
  }
  const rows = findings.map(({ row, before, now, ratio, verdict }) => [
    row,
    before === undefined ? '' : percent(before.median),
    percent(now.median),
    ratio === undefined ? '' : `${number(ratio.median)}×`,
    ratio === undefined ? '' : intervalText(ratio),
    verdict,
  ]);
  console.log(`${baselineKey(report)}, ${report.cpu}`);
  console.log(table(['share of the machine', 'baseline', 'now', 'ratio', 'interval', ''], rows));
  if (findings.some(({ verdict }) => verdict !== 'held')) failed = true;
  stored = withResult(stored, report);
}
if (values.update) {
  await writeFile(values.baseline, `${JSON.stringify(stored, null, 2)}\n`);
  console.log(`wrote ${values.baseline}`);
} else if (failed) {
  console.log('lost: slower than the baseline each time; new: npm run bench:check -- --update keeps it');
  process.exitCode = 1;
}
