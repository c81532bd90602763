// The standard table of a model or a shape, kept as JSON:
//   npm run bench:model [-- --shape 2b4t | --model PATH] [--threads N] [--target ID] [--repetitions 6] [--out FILE]
//                       [--prompts 128,512] [--new-tokens 128] [--contexts 0,1024,4096] [--sequences 1,2,4,8,16]
//                       [--report FILE]: also a page with charts
//                       [--screen 0|4|5] [--no-screen]: compile the head's coarse copy so, or do not use it
//                       [--compile]: also time a compilation that finds nothing in any cache
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bytes, number } from '../../cli/format.ts';
import { compile } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { benchPage, firstTokenText, shareText } from '../report/bench-page.ts';
import { rowName } from '../report/result.ts';
import { measureModel, shapeSubject } from './measure.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2b4t' },
    model: { type: 'string' },
    threads: { type: 'string' },
    target: { type: 'string' },
    repetitions: { type: 'string', default: '6' },
    prompts: { type: 'string', default: '128,512' },
    'new-tokens': { type: 'string', default: '128' },
    contexts: { type: 'string', default: '0,1024,4096' },
    sequences: { type: 'string', default: '1,2,4,8,16' },
    out: { type: 'string' },
    report: { type: 'string' },
    screen: { type: 'string' },
    'no-screen': { type: 'boolean', default: false },
    compile: { type: 'boolean', default: false },
  },
});

/** Seconds from the model file to an artifact, both caches and output in a folder that is empty before and gone after. */
async function timeCompile(path: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'bitnet-compile-'));
  const { BITNET_CACHE } = process.env;
  process.env.BITNET_CACHE = join(folder, 'cache');
  try {
    const start = performance.now();
    await compile(path, {
      out: join(folder, 'out'),
      ...(values.target === undefined ? {} : { target: values.target }),
    });
    return (performance.now() - start) / 1000;
  } finally {
    if (BITNET_CACHE === undefined) delete process.env.BITNET_CACHE;
    else process.env.BITNET_CACHE = BITNET_CACHE;
    await rm(folder, { recursive: true, force: true });
  }
}

const counts = (text: string) => text.split(',').map(Number);
const { path, out } = values.model === undefined ? await shapeSubject(values.shape) : { path: values.model };
const compileSeconds = values.compile ? await timeCompile(path) : undefined;
const measured = await measureModel(path, {
  promptTokens: counts(values.prompts),
  newTokens: Number(values['new-tokens']),
  contexts: counts(values.contexts),
  sequences: counts(values.sequences),
  repetitions: Number(values.repetitions),
  screened: !values['no-screen'],
  ...(values.screen === undefined ? {} : { screen: Number(values.screen) as 0 | 4 | 5 }),
  ...(values.threads === undefined ? {} : { threads: Number(values.threads) }),
  ...(values.target === undefined ? {} : { target: values.target }),
  ...(out === undefined ? {} : { out }),
  onProgress: (message, fraction) => {
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${message} ${Math.floor((fraction ?? 0) * 100)}%`);
  },
});
const report = {
  ...measured,
  ...(values.model === undefined ? { model: values.shape } : {}),
  ...(compileSeconds === undefined ? {} : { compileSeconds }),
};
for (const row of report.rows) {
  const first = row.firstTokenMs === undefined ? '' : `, first token ${firstTokenText(row)} again`;
  console.log(
    `${rowName(row).padEnd(28)} ${number(row.tokensPerSecond.median).padStart(8)}  ${shareText(row)}${first}`,
  );
}
console.log(`opened in ${number(report.openMs.median)} ms, resident ${bytes(report.memory.resident)}`);
if (compileSeconds !== undefined) console.log(`compiled in ${number(compileSeconds)} s`);
const name = `${report.model}-${report.target}-${report.threads}t.json`.replace(/[^\w.-]+/g, '_');
const file = values.out ?? join(packageRoot(), 'bench', 'results', name);
await mkdir(dirname(file), { recursive: true });
await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
if (values.report !== undefined) await writeFile(values.report, benchPage(report));
console.log(`\nwrote ${[file, values.report].filter(Boolean).join(' and ')}`);
