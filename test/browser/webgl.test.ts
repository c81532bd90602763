// A model on WebGL, through gpu.js, in headless Chromium, whose GPU is SwiftShader.
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { skip } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium, SWIFTSHADER } from './chromium.ts';
import { ask, greedyTokens, type Loaded, makeSite, openPage, PROMPT, type Stopped, type Story } from './pages.ts';
import { StaticServer } from './server.ts';

const NEW_TOKENS = 8;

const pages = suite('a model on WebGL in Chromium');
const executable = findChromium();

if (executable === undefined) {
  skip(pages, 'streams and stops', 'there is no Chromium: apt-get install chromium');
} else {
  const folder = temporaryFolder('browser-webgl');
  const site = makeSite(folder);
  const { artifact, manifest } = await compile(defaultModel(), { target: 'webgl', out: folder });
  const greedy = greedyTokens();

  const browser = await launchChromium(executable, SWIFTSHADER);
  const server = new StaticServer({ '/model/': artifact, '/': site }, false);
  const address = await server.listen();
  pages.after(async () => {
    await browser.close();
    await server.close();
  });

  const visit = () => openPage(browser, address);
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
    const stopped = await ask<Stopped>(page, 'stop', PROMPT, 3);
    assert.is(stopped.finishReason, 'cancelled');
    assert.ok(stopped.tokens < 10 && stopped.afterwards.length > 0);
    await page.context().close();
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
    await page.context().close();
  });

  pages('a file that is not the one that was compiled is refused', async () => {
    const page = await visit();
    for (const [file, what] of [
      [manifest.targets.webgl.library, 'library'],
      ['weights/', 'weights'],
    ]) {
      server.faults.corrupt = file!;
      const { error } = await ask<Loaded>(page, 'load', '/model');
      assert.match(error!, `is damaged: it is not the ${what} file that was compiled`);
    }
    delete server.faults.corrupt;
    await page.context().close();
  });

  pages('what there is no room for is refused, and so is a page without the code for it', async () => {
    const page = await visit();
    await page.route('**/browser-webgl.js', (route) => route.abort());
    const missing = await ask<Loaded>(page, 'load', '/model');
    assert.match(missing.error!, 'what runs models on WebGL cannot be fetched');
    assert.match(missing.hint!, 'belongs beside the one that imports it');
    await page.unroute('**/browser-webgl.js');
    const { error } = await ask<Loaded>(page, 'load', '/model', { memoryLimit: 8 << 20 });
    assert.match(error!, /there is no room for the model: \d+ MiB in all, and there may be 8 MiB at most/);
    await page.context().close();
  });
}

pages.run();
