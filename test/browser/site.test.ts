// The page that `bitnet compile --web` writes, in headless Chromium: loaded, talked to by keyboard, stopped, and used offline.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packTokenizer, unpackTokenizer } from '../../artifact/tokenizer/file.ts';
import { packageRoot } from '../../package-root.ts';
import { invoke } from '../cli/invoke.ts';
import { skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium, SWIFTSHADER } from './chromium.ts';
import { StaticServer } from './server.ts';

const TARGET = 'wasm-simd128';

const TEMPLATE =
  '{% for message in messages %}{{ message.role }} said: {{ message.content }}\n{% endfor %}assistant said:';

/** Copies an artifact, and gives it a template for conversations. */
function withTemplate(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
  const tables = unpackTokenizer(new Uint8Array(readFileSync(join(from, 'tokenizer.bin'))));
  const bytes = packTokenizer({ ...tables, scalars: { ...tables.scalars, chatTemplate: TEMPLATE } });
  const manifest = JSON.parse(readFileSync(join(from, 'manifest.json'), 'utf8'));
  manifest.tokenizer.sha256 = createHash('sha256').update(bytes).digest('hex');
  writeFileSync(join(to, 'tokenizer.bin'), bytes);
  writeFileSync(join(to, 'manifest.json'), JSON.stringify(manifest));
}

const site = suite('the page for browsers');
const executable = findChromium();
const unbuilt = (await testBeds()).absent.find(({ target }) => target.id === TARGET)?.reason;

if (executable === undefined || unbuilt !== undefined) {
  skip(site, 'talks', unbuilt ?? 'there is no Chromium: apt-get install chromium');
} else {
  const folder = temporaryFolder('site');
  const web = join(folder, 'site');
  site.before(async () => {
    execFileSync(process.execPath, [join(packageRoot(), 'runtime/src/browser/bundle.mjs')]);
    const args = [
      'compile',
      '--target',
      `webgpu,webgl,${TARGET}`,
      '--web',
      web,
      '--out',
      join(folder, 'out'),
      '--quiet',
    ];
    const { code, stderr } = await invoke(args);
    assert.is(code, 0, stderr);
  });

  /** A visit to what a server gives, in a browser of its own. */
  async function visit(
    server: StaticServer,
    flags: readonly string[],
    scripts: readonly string[],
    then: (page: Page, address: string) => Promise<void>,
  ): Promise<void> {
    const address = await server.listen();
    const browser = await launchChromium(executable!, ...flags);
    try {
      const page = await (await browser.newContext({ viewport: { width: 390, height: 600 } })).newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      for (const script of scripts) await page.addInitScript(script);
      await page.goto(`${address}/`);
      await then(page, address);
      assert.equal(errors, []);
    } finally {
      await browser.close();
      await server.close();
    }
  }
  const factsOf = async (page: Page): Promise<string> => {
    await page.waitForSelector('#facts', { timeout: 60_000 });
    return (await page.textContent('#facts'))!;
  };
  const picture = async (page: Page, name: string) => {
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`) });
  };

  site('talks by keyboard, stops, and needs no network the second time', async () => {
    const server = new StaticServer({ '/': web }, true);
    await visit(server, [], [], async (page) => {
      const facts = await factsOf(page);
      assert.match(facts, /storyteller.* on wasm-simd128, \d+ threads;/);
      // A GPU of this machine, or none: SwiftShader is not taken for one.
      assert.match(facts, /Not on webgpu: \w/);
      const box = page.getByLabel('The beginning of a text');
      assert.ok(await box.evaluate((element) => element === element.ownerDocument.activeElement));
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
      assert.is((await page.getByRole('status').textContent())!.trim(), stopped);
      await picture(page, 'page');

      await page.waitForFunction("navigator.serviceWorker.controller !== null && caches.has('page')");
      await page.waitForFunction("caches.match('/main.js').then((found) => found !== undefined)");
      server.faults.gone = true;
      await page.reload();
      await factsOf(page);
      await page.getByText('Another model').press('Enter');
      await page.getByLabel('Address').fill('/elsewhere/');
      await page.getByRole('button', { name: 'Load' }).press('Enter');
      assert.match((await page.getByRole('alert').textContent())!, /elsewhere\/manifest\.json cannot be read/);
    });
  });

  site('stops by a click without sending again, and scrolls along only where its reader is at the end', async () => {
    await visit(new StaticServer({ '/': web }, false), [], [], async (page) => {
      await factsOf(page);
      const send = page.getByRole('button', { name: 'Send' });
      const { x, y, width, height } = (await send.boundingBox())!;
      /** Where Send was is Stop now, and then Send again. */
      const click = () => page.mouse.click(x + width / 2, y + height / 2);
      const log = "document.querySelector('[role=log]')";
      const grows = async (characters: number, before: number) =>
        void (await page.waitForFunction(`${log}.textContent.length > ${before + characters}`));
      for (let times = 1; times <= 3; times++) {
        const before = await page.evaluate<number>(`${log}.textContent.length`);
        await click();
        await grows(40, before);
        await click();
        await send.waitFor();
        assert.is(await page.locator('.assistant').count(), times);
      }
      assert.ok(
        await page.evaluate(
          `${log}.scrollTop > 0 && ${log}.scrollHeight - ${log}.scrollTop - ${log}.clientHeight < 32`,
        ),
      );
      await click();
      await grows(100, await page.evaluate<number>(`${log}.scrollTo(0, 0), ${log}.textContent.length`));
      assert.is(await page.evaluate(`${log}.scrollTop`), 0);
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Clear' }).click();
      assert.is(await page.locator('.assistant').count(), 0);
    });
  });

  site(
    'has threads from the second visit on, wherever it is served from, and keeps no models with itself',
    async () => {
      const server = new StaticServer({ '/other/': join(web, 'model'), '/': web }, false);
      await visit(server, [], [], async (page, address) => {
        assert.match(await factsOf(page), /one thread \(reload the page for more\)/);
        await page.waitForFunction("navigator.serviceWorker.controller !== null && caches.has('page')");
        await page.evaluate("caches.delete('bitnet-toolchain')");
        server.faults.breakAfter = 5 << 20;
        await page.goto(`${address}/?model=/other/`);
        assert.match(await factsOf(page), / [2-9] threads;/);
        const kept = await page.evaluate<string[]>(
          "caches.open('page').then((cache) => cache.keys()).then((all) => all.map(({ url }) => new URL(url).pathname))",
        );
        assert.equal([...new Set(kept)].sort(), ['/', '/main.js', '/style.css']);
      });
    },
  );

  site(
    'has a conversation with a model that has a template for it, and gives back what was too long to send',
    async () => {
      await visit(new StaticServer({ '/': web }, false), [], [], async (page, address) => {
        await factsOf(page);
        withTemplate(join(web, 'model'), join(web, 'chat'));
        await page.goto(`${address}/?model=./chat/`);
        await factsOf(page);
        const [box, send] = [page.getByLabel('Your message'), page.getByRole('button', { name: 'Send' })];
        assert.ok(await send.isDisabled());
        for (const message of ['Hello', 'And then?']) {
          await box.fill(message);
          await box.press('Enter');
          await page.waitForFunction("document.querySelector('[role=log] p:last-child').textContent.length > 20");
          assert.is(await box.inputValue(), '');
          await box.press('Escape');
          await page.getByRole('button', { name: 'Send' }).waitFor();
        }
        const said = await page.locator('[role=log] .user').allTextContents();
        assert.equal(said, ['Hello', 'And then?']);
        const long = 'a b c d e f g '.repeat(1000);
        await box.fill(long);
        await box.press('Enter');
        assert.match((await page.getByRole('alert').textContent())!, /the prompt has \d+ tokens, .*\. Shorten it/);
        assert.is(await box.inputValue(), long);
        assert.is(await page.locator('[role=log] p').count(), 4);
      });
    },
  );

  site('falls back to WebGL where there is no WebAssembly, says why, and does without anything stored', async () => {
    const refuse = (name: string) => `
      Object.defineProperty(globalThis, '${name}', { get() { throw new DOMException('no', 'SecurityError'); } });`;
    const scripts = ['delete globalThis.WebAssembly;', refuse('localStorage'), 'delete globalThis.caches;'];
    scripts.push("navigator.serviceWorker.register = () => Promise.reject(new DOMException('no', 'SecurityError'));");
    await visit(new StaticServer({ '/': web }, false), [SWIFTSHADER], scripts, async (page) => {
      const facts = await factsOf(page);
      assert.match(facts, /storyteller.* on webgl, .*Not on wasm-simd128: this browser has no WebAssembly\./);
      await picture(page, 'webgl');
      await page.setInputFiles('input[type=file]', { name: 'm.gguf', mimeType: '', buffer: Buffer.from('GGUF...') });
      assert.match((await page.getByRole('alert').textContent())!, /a model that is not compiled. Compile it: bitnet/);
    });
  });
}

site.run();
