// The browser package in headless Chromium, over HTTP: on a page that may have threads, and on one that may not.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium } from './chromium.ts';
import { StaticServer } from './server.ts';

const TARGET = 'wasm-simd128';
const PROMPT = 'Once upon a time';

interface Loaded {
  readonly error?: string;
  readonly own?: boolean;
  readonly target: string;
  readonly threads: number;
  readonly memory: Record<string, number>;
  readonly steps: readonly { readonly stage: string; readonly loaded?: number; readonly total?: number }[];
}

const pages = suite('the browser package in Chromium');
const executable = findChromium();
const { absent } = await testBeds();
const unbuilt = absent.find(({ target }) => target.id === TARGET)?.reason;

if (executable === undefined || unbuilt !== undefined) {
  skip(pages, 'loads and streams', unbuilt ?? 'there is no Chromium: apt-get install chromium');
} else {
  const site = join(temporaryFolder('browser'), 'site');
  mkdirSync(site, { recursive: true });
  const root = packageRoot();
  execFileSync(process.execPath, [join(root, 'runtime/src/browser/bundle.mjs'), site]);
  copyFileSync(join(root, 'test/browser/page.js'), join(site, 'page.js'));
  writeFileSync(join(site, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>');
  const { artifact, manifest } = await compile(defaultModel(), { target: TARGET, out: join(site, '..') });
  execFileSync('tar', ['--format=ustar', '-cf', join(site, 'model.tar'), '-C', artifact, '.']);
  const cases = JSON.parse(readFileSync(join(root, 'models', 'greedy.json'), 'utf8'));
  const expected: { prompt: string; greedy: number[] } = cases.find(
    ({ prompt }: { prompt: string }) => prompt === PROMPT,
  );
  const { bytes } = Object.values(manifest.weights)[0]!;

  const browser: Browser = await launchChromium(executable);
  const opened: StaticServer[] = [];
  pages.after(async () => {
    await browser.close();
    for (const server of opened) await server.close();
  });

  /** A page of its own, with nothing stored. */
  async function visit(isolated: boolean): Promise<{ page: Page; server: StaticServer; address: string }> {
    const server = new StaticServer({ '/model/': artifact, '/': site }, isolated);
    opened.push(server);
    const address = await server.listen();
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${address}/`);
    await page.waitForFunction('window.bitnet !== undefined');
    return { page, server, address };
  }
  const ask = <Result>(page: Page, what: string, ...args: readonly unknown[]): Promise<Result> =>
    page.evaluate(`window.bitnet.${what}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  const weightRequests = ({ requests }: StaticServer) => requests.filter(({ path }) => path.includes('/weights/'));

  for (const isolated of [true, false]) {
    pages(`${isolated ? 'with threads' : 'without threads'}: streams the story that ref tells, and stops`, async () => {
      const { page } = await visit(isolated);
      const loaded = await ask<Loaded>(page, 'load', '/model', { kv: 'f32' });
      assert.is(loaded.error, undefined);
      assert.is(loaded.target, TARGET);
      assert.is(loaded.threads > 1, isolated);
      assert.is(loaded.memory.weights, bytes);
      const told = loaded.steps.filter(({ stage }) => stage === 'weights');
      assert.is(told.at(-1)!.loaded, told.at(-1)!.total);
      assert.is(loaded.steps.at(-1)!.stage, 'ready');
      const options = { temperature: 0, maxTokens: expected.greedy.length };
      const story = await ask<{ pieces: string[]; text: string; tokens: number[] }>(page, 'generate', PROMPT, options);
      assert.equal(story.tokens, expected.greedy);
      assert.ok(story.pieces.length > 20);
      assert.is(story.pieces.join(''), story.text);
      const stopped = await ask<{ finishReason: string; tokens: number; afterwards: string }>(page, 'stop', PROMPT, 5);
      assert.is(stopped.finishReason, 'cancelled');
      assert.ok(stopped.tokens < 60 && stopped.afterwards.length > 0);
      await page.context().close();
    });
  }

  pages('a second visit downloads no weights, and needs no network', async () => {
    const { page, server } = await visit(false);
    await ask(page, 'load', '/model');
    await page.reload();
    await page.waitForFunction('window.bitnet !== undefined');
    server.requests.length = 0;
    server.faults.gone = true;
    const again = await ask<Loaded>(page, 'load', '/model');
    assert.is(again.error, undefined);
    assert.equal(weightRequests(server), []);
    await page.context().close();
  });

  pages('a download that breaks off goes on where it was, and so does one that was left', async () => {
    for (const noRanges of [false, true]) {
      const { page, server } = await visit(false);
      server.faults.noRanges = noRanges;
      server.faults.breakAfter = 5 << 20;
      assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
      assert.equal(
        weightRequests(server).map(({ range }) => range),
        [undefined, `bytes=${4 << 20}-`],
      );
      await page.context().close();
    }
    const { page, server } = await visit(false);
    assert.is((await ask<Loaded>(page, 'leave', '/model')).error, 'left');
    server.requests.length = 0;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    assert.match(weightRequests(server)[0]!.range!, /^bytes=\d{7,}-$/);
    await page.context().close();
  });

  pages('a damaged download is refused, and not kept', async () => {
    const { page, server } = await visit(false);
    server.faults.corrupt = true;
    const refused = await ask<Loaded>(page, 'load', '/model');
    assert.match(refused.error!, /damaged: it is not the weights that was compiled/);
    assert.ok(refused.own);
    server.faults.corrupt = false;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    await page.context().close();
  });

  pages('a file, or its bytes, are as good as an address', async () => {
    const { page } = await visit(false);
    for (const as of ['file', 'bytes']) {
      assert.is((await ask<Loaded>(page, 'loadBytes', '/model.tar', as)).error, undefined);
      const { tokens } = await ask<{ tokens: number[] }>(page, 'generate', PROMPT, { temperature: 0, maxTokens: 8 });
      assert.equal(tokens, expected.greedy.slice(0, 8));
      await ask(page, 'dispose');
    }
    await page.context().close();
  });

  pages('what cannot be had is said', async () => {
    const { page } = await visit(false);
    const said = async (from: string, options: object) => (await ask<Loaded>(page, 'load', from, options)).error;
    assert.match((await said('/nowhere', {}))!, /manifest\.json cannot be read: the server answers 404/);
    assert.match((await said('/model', { threads: 4 }))!, /this page may have one: it is not cross-origin isolated/);
    assert.match(
      (await said('/model', { memoryLimit: 8 << 20 }))!,
      /there is no room for the weights: .* there may be 8 MiB at most/,
    );
    assert.match((await said('/model', { targets: ['cuda'] }))!, /there is no target cuda for browsers/);
    assert.match((await said('/model', { contextLength: 1e6 }))!, /room for 1000000 tokens was asked for/);
    assert.match((await said('/model', { thread: 4 }))!, /there is no option thread/);
    const { error } = await ask<Loaded>(page, 'loadBytes', '/page.js', 'file');
    assert.match(error!, /the file is no tar archive/);
    await page.context().close();
  });
}

pages.run();
