// A model on WebGL, through gpu.js, in headless Chromium, whose GPU is SwiftShader.
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { skip } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium, SWIFTSHADER } from './chromium.ts';
import { StaticServer } from './server.ts';

const PROMPT = 'Once upon a time';
const NEW_TOKENS = 8;

interface Loaded {
  readonly error?: string;
  readonly target: string;
  readonly rejected: readonly { readonly target: string; readonly reason: string }[];
  readonly memory: Record<string, number>;
}

interface Story {
  readonly error?: string;
  readonly hint?: string;
  readonly tokens: readonly number[];
}

const pages = suite('a model on WebGL in Chromium');
const executable = findChromium();

if (executable === undefined) {
  skip(pages, 'streams and stops', 'there is no Chromium: apt-get install chromium');
} else {
  const site = join(temporaryFolder('browser-webgl'), 'site');
  mkdirSync(site, { recursive: true });
  const root = packageRoot();
  execFileSync(process.execPath, [join(root, 'runtime/src/browser/bundle.mjs'), site]);
  copyFileSync(join(root, 'test/browser/page.js'), join(site, 'page.js'));
  writeFileSync(join(site, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>');
  const { artifact, manifest } = await compile(defaultModel(), { target: 'webgl', out: join(site, '..') });
  const cases: { prompt: string; greedy: number[] }[] = JSON.parse(
    readFileSync(join(root, 'models', 'greedy.json'), 'utf8'),
  );
  const { greedy } = cases.find(({ prompt }) => prompt === PROMPT)!;

  const browser = await launchChromium(executable, SWIFTSHADER);
  const server = new StaticServer({ '/model/': artifact, '/': site }, false);
  const address = await server.listen();
  pages.after(async () => {
    await browser.close();
    await server.close();
  });

  const visit = async (): Promise<Page> => {
    const page = await browser.newPage();
    await page.goto(`${address}/`);
    await page.waitForFunction('window.bitnet !== undefined');
    return page;
  };
  const ask = <Result>(page: Page, what: string, ...args: readonly unknown[]): Promise<Result> =>
    page.evaluate(`window.bitnet.${what}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  const story = (page: Page) => ask<Story>(page, 'generate', PROMPT, { temperature: 0, maxTokens: NEW_TOKENS });

  pages('is chosen where nothing faster is there, tells the story that ref tells, and stops', async () => {
    const page = await visit();
    const fetched = () => server.requests.some(({ path }) => path.endsWith('browser-webgl.js'));
    assert.not.ok(fetched());
    const loaded = await ask<Loaded>(page, 'load', '/model', { kv: 'f32', sequences: 1 });
    assert.is(loaded.error, undefined);
    assert.is(loaded.target, 'webgl');
    assert.equal(loaded.rejected.map(({ target, reason }) => [target, reason]).at(-1), [
      'wasm-simd128',
      'the model was not compiled for it',
    ]);
    assert.is(loaded.memory.weights, Object.values(manifest.weights)[0].bytes);
    assert.ok(fetched());
    assert.equal((await story(page)).tokens, greedy.slice(0, NEW_TOKENS));
    const stopped = await ask<{ finishReason: string; tokens: number; afterwards: string }>(page, 'stop', PROMPT, 3);
    assert.is(stopped.finishReason, 'cancelled');
    assert.ok(stopped.tokens < 10 && stopped.afterwards.length > 0);
    await page.close();
  });

  pages('a GPU that is lost is given the model again', async () => {
    const page = await visit();
    await ask<Loaded>(page, 'load', '/model', { targets: ['webgl'], sequences: 1 });
    await page.evaluate(`window.own = document.createElement('canvas').getContext('webgl2')`);
    const session = await browser.newBrowserCDPSession();
    for (const busy of [true, false]) {
      const told = busy ? story(page) : undefined;
      await session.send('Browser.crashGpuProcess');
      await page.waitForFunction('window.own.isContextLost()');
      const { error, tokens } = await (told ?? story(page));
      assert.is(error, undefined);
      assert.equal(tokens, greedy.slice(0, NEW_TOKENS));
      await page.evaluate(`window.own = document.createElement('canvas').getContext('webgl2')`);
    }
    await page.close();
  });

  pages('what there is no room for is refused, and so is a page without the code for it', async () => {
    const page = await visit();
    await page.route('**/browser-webgl.js', (route) => route.abort());
    const missing = await ask<Loaded & { readonly hint: string }>(page, 'load', '/model');
    assert.match(missing.error!, 'what runs models on WebGL cannot be fetched');
    assert.match(missing.hint, 'belongs beside the one that imports it');
    await page.unroute('**/browser-webgl.js');
    const { error } = await ask<Loaded>(page, 'load', '/model', { memoryLimit: 8 << 20 });
    assert.match(error!, /there is no room for the model: it takes \d+ MiB, and there may be 8 MiB at most/);
    await page.close();
  });
}

pages.run();
