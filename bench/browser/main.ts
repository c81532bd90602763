// Times what a visitor of a page waits for, in headless Chromium and over HTTP from this machine: from the beginning of a visit
// to the model's first token, with nothing stored and with all of it.
//   npm run bench:browser [-- --model FILE] [--targets wasm-simd128,webgl] [--tokens 64] [--rounds 5] [--out FILE]

import { copyFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import type { Page } from 'playwright-core';
import { probeMachine } from '../../artifact/machine.ts';
import { compile } from '../../compiler/index.ts';
import { BitnetError } from '../../errors.ts';
import { defaultModel } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { median } from '../../statistics.ts';
import { findChromium, launchChromium, SWIFTSHADER } from '../../test/browser/chromium.ts';
import { makeSite } from '../../test/browser/pages.ts';
import { StaticServer } from '../../test/browser/server.ts';
import { temporaryFolder } from '../../test/support/temporary.ts';

/** What a page tells of a visit. */
interface Visit {
  readonly error?: string;
  readonly device: string | null;
  readonly threads: number;
  /** From the beginning of the visit. */
  readonly loadedMs: number;
  readonly firstTokenMs: number;
  readonly stats: { readonly decodeTokensPerSecond: number };
}

/** A target, and threads where pages may have several. */
interface Setting {
  readonly target: string;
  readonly threads: number;
}

interface Figures extends Setting {
  readonly device: string | null;
  readonly first: readonly Visit[];
  readonly second: readonly Visit[];
}

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: defaultModel() },
    targets: { type: 'string', default: 'wasm-simd128,webgl' },
    tokens: { type: 'string', default: '64' },
    rounds: { type: 'string', default: '5' },
    out: { type: 'string' },
  },
});

const executable = findChromium();
if (executable === undefined) {
  throw new BitnetError('there is no Chromium', { hint: 'apt-get install chromium, or name one by CHROMIUM.' });
}

const folder = temporaryFolder('bench-browser');
const site = makeSite(folder);
copyFileSync(join(packageRoot(), 'bench', 'browser', 'page.html'), join(site, 'index.html'));
const targets = values.targets.split(',');
const settings = targets.flatMap((target): Setting[] =>
  (target === 'wasm-simd128' ? [1, 2] : [1]).map((threads) => ({ target, threads })),
);
const browser = await launchChromium(executable, SWIFTSHADER, '--enable-unsafe-webgpu', '--enable-features=Vulkan');
const results: Figures[] = [];
try {
  for (const setting of settings) results.push(await timeSetting(setting));
} finally {
  await browser.close();
}
print(results);
if (values.out !== undefined) {
  const [date] = new Date().toISOString().split('T');
  const report = { date, cpu: probeMachine().cpu, browser: browser.version(), model: basename(values.model), results };
  await writeFile(values.out, `${JSON.stringify(report, null, 2)}\n`);
}

async function timeSetting(setting: Setting): Promise<Figures> {
  const { artifact } = await compile(values.model, { target: setting.target, out: folder });
  const server = new StaticServer({ '/model/': artifact, '/': site }, true);
  const address = await server.listen();
  const query = new URLSearchParams({
    target: setting.target,
    threads: String(setting.threads),
    tokens: values.tokens,
  });
  const first: Visit[] = [];
  const second: Visit[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    const context = await browser.newContext();
    for (const visits of [first, second]) visits.push(await visit(await context.newPage(), `${address}/?${query}`));
    await context.close();
  }
  await server.close();
  return { ...setting, device: first[0]!.device, first, second };
}

async function visit(page: Page, address: string): Promise<Visit> {
  await page.goto(address);
  await page.waitForFunction('window.visited !== undefined');
  const visited = await page.evaluate<Visit>('window.visited');
  if (visited.error !== undefined) throw new BitnetError(visited.error);
  await page.close();
  return visited;
}

function print(results: readonly Figures[]): void {
  const table = new Table({
    head: ['target', 'threads', 'first visit, ms', 'second visit, ms', 'decode, tokens/s'],
    colAligns: ['left', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
  const wait = (visits: readonly Visit[]) => median(visits.map(({ firstTokenMs }) => firstTokenMs)).toFixed(0);
  for (const { target, device, first, second } of results) {
    const speed = median(second.map(({ stats }) => stats.decodeTokensPerSecond));
    const name = device ? `${target}, ${device}` : target;
    table.push([name, second[0]!.threads, wait(first), wait(second), speed.toPrecision(3)]);
  }
  console.log(`to the first token, in Chromium ${browser.version()}, medians of ${values.rounds} visits:`);
  console.log(table.toString());
}
