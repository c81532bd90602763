// The page that `bitnet compile --web` writes, in headless Chromium: loaded, talked to by keyboard, stopped, and used offline.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { invoke } from '../cli/invoke.ts';
import { skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium, SWIFTSHADER } from './chromium.ts';
import { StaticServer } from './server.ts';

const TARGET = 'wasm-simd128';
const site = suite('the page for browsers');
const executable = findChromium();
const unbuilt = (await testBeds()).absent.find(({ target }) => target.id === TARGET)?.reason;

if (executable === undefined || unbuilt !== undefined) {
  skip(site, 'talks', unbuilt ?? 'there is no Chromium: apt-get install chromium');
} else {
  const folder = temporaryFolder('site');
  site.before(async () => {
    execFileSync(process.execPath, [join(packageRoot(), 'runtime/src/browser/bundle.mjs')]);
    const [web, out] = [join(folder, 'site'), join(folder, 'out')];
    const args = ['compile', '--target', `webgpu,webgl,${TARGET}`, '--web', web, '--out', out, '--quiet'];
    const { code, stderr } = await invoke(args);
    assert.is(code, 0, stderr);
  });

  site('talks by keyboard, stops, and needs no network the second time', async () => {
    const server = new StaticServer({ '/': join(folder, 'site') }, true);
    const address = await server.listen();
    const browser = await launchChromium(executable);
    try {
      const page = await (await browser.newContext()).newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      await page.goto(`${address}/`);
      await page.waitForSelector('#facts', { timeout: 30_000 });
      const facts = (await page.textContent('#facts'))!;
      assert.match(facts, /storyteller.* on wasm-simd128, \d+ threads;/);
      // A GPU of this machine, or none: SwiftShader is not taken for one.
      assert.match(facts, /Not on webgpu: \w/);
      const box = page.getByLabel('The beginning of a text');
      await box.fill('The little rabbit');
      await box.press('Enter');
      const answer = page.locator('[role=log] .assistant');
      await page.waitForFunction("document.querySelector('[role=log] .assistant')?.textContent.length > 40");
      await box.press('Escape');
      await page.getByRole('button', { name: 'Send' }).waitFor();
      const stopped = await answer.textContent();
      assert.match((await page.textContent('#speed'))!, /\d+ tokens\/s, first after \d+ ms/);
      await page.waitForTimeout(200);
      assert.is(await answer.textContent(), stopped);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, 'page.png') });

      await page.waitForFunction("navigator.serviceWorker.controller !== null && caches.has('page')");
      await page.waitForFunction("caches.match('/main.js').then((found) => found !== undefined)");
      server.faults.gone = true;
      await page.reload();
      await page.waitForSelector('#facts', { timeout: 30_000 });
      await page.getByLabel('Model').fill('/elsewhere/');
      await page.getByRole('button', { name: 'Load' }).press('Enter');
      assert.match((await page.getByRole('alert').textContent())!, /elsewhere\/manifest\.json cannot be read/);
      assert.equal(errors, []);
    } finally {
      await browser.close();
      await server.close();
    }
  });

  site('falls back to WebGL where there is no WebAssembly, and says why', async () => {
    const server = new StaticServer({ '/': join(folder, 'site') }, false);
    const address = await server.listen();
    const browser = await launchChromium(executable, SWIFTSHADER);
    try {
      const page = await browser.newPage();
      await page.addInitScript('delete globalThis.WebAssembly');
      await page.goto(`${address}/`);
      await page.waitForSelector('#facts', { timeout: 60_000 });
      const facts = (await page.textContent('#facts'))!;
      assert.match(facts, /storyteller.* on webgl, .*Not on wasm-simd128: this browser has no WebAssembly\./);
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, 'webgl.png') });
    } finally {
      await browser.close();
      await server.close();
    }
  });
}

site.run();
