// The browser package as bundlers put it into pages, in headless Chromium: with the code that is fetched for WebGL only.
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import type { Browser } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium, SWIFTSHADER } from './chromium.ts';
import { ask, type Loaded, makeSite, openPage, type Story } from './pages.ts';
import { StaticServer } from './server.ts';

const TARGETS = ['wasm-simd128', 'webgl'];
const HTML = '<!doctype html><script type="module" src="./page.js"></script>';
const NEW_TOKENS = 4;

/** Vite where it is installed: not with `npm ci`, for its binaries are not to be had everywhere. */
const VITE: string = 'vite';
const vite: { build(config: object): Promise<unknown> } | undefined = await import(VITE).catch(() => undefined);

/** Each makes of page.js and index.html in `root` a page in `out`. */
const BUNDLERS: Readonly<Record<string, (root: string, out: string) => Promise<unknown>>> = {
  async esbuild(root, out) {
    const entryPoints = [join(root, 'page.js')];
    await esbuild.build({ entryPoints, bundle: true, splitting: true, format: 'esm', outdir: out });
    writeFileSync(join(out, 'index.html'), HTML);
  },
  vite: (root, outDir) =>
    vite!.build({ root, configFile: false, logLevel: 'error', build: { outDir, target: 'es2022' }, base: './' }),
};

const pages = suite('the browser package, bundled');
const executable = findChromium();
const unbuilt = (await testBeds()).absent.find(({ target }) => target.id === TARGETS[0])?.reason;

if (executable === undefined || unbuilt !== undefined) {
  skip(pages, 'loads a model', unbuilt ?? 'there is no Chromium: apt-get install chromium');
} else {
  const root = temporaryFolder('bundlers');
  // What npm would have installed.
  const installed = join(root, 'node_modules', 'bitnet-toolchain');
  mkdirSync(installed, { recursive: true });
  symlinkSync(makeSite(root), join(installed, 'dist'));
  writeFileSync(join(installed, 'package.json'), readFileSync(join(packageRoot(), 'package.json')));
  const script = readFileSync(join(packageRoot(), 'test/browser/page.js'), 'utf8');
  writeFileSync(join(root, 'page.js'), script.replace('/browser.js', 'bitnet-toolchain/browser'));
  writeFileSync(join(root, 'index.html'), HTML);

  const fixtures = join(packageRoot(), 'test', 'fixtures');
  const golden = JSON.parse(readFileSync(join(fixtures, 'b158-i2s.json'), 'utf8'));
  const artifacts: Record<string, string> = {};
  for (const target of TARGETS) {
    const { artifact } = await compile(join(fixtures, golden.model), { target, out: root });
    artifacts[`/${target}/`] = artifact;
  }
  const browser: Browser = await launchChromium(executable, SWIFTSHADER);
  pages.after(() => browser.close());

  for (const [name, bundle] of Object.entries(BUNDLERS)) {
    if (name === 'vite' && !vite) {
      skip(pages, 'by vite: loads a model', 'there is no Vite: npm install --no-save vite@7');
      continue;
    }
    pages(`by ${name}: loads a model`, async () => {
      const out = join(root, name);
      await bundle(root, out);
      const server = new StaticServer({ ...artifacts, '/': out }, false);
      const page = await openPage(browser, await server.listen());
      for (const target of TARGETS) {
        const loaded = await ask<Loaded>(page, 'load', `/${target}`, { targets: [target], kv: 'f32' });
        assert.equal([loaded.error, loaded.target], [undefined, target]);
        const options = { temperature: 0, maxTokens: NEW_TOKENS, ignoreEos: true };
        const { tokens } = await ask<Story>(page, 'generate', golden.tokens, options);
        assert.equal(tokens, golden.greedy.slice(0, NEW_TOKENS));
      }
      await page.context().close();
      await server.close();
    });
  }
}

pages.run();
