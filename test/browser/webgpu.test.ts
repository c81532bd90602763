// A model on WebGPU in headless Chromium, whose GPU is SwiftShader.
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
import { findChromium, launchChromium } from './chromium.ts';
import { StaticServer } from './server.ts';

const PROMPT = 'Once upon a time';
const NEW_TOKENS = 6;
/** WebGPU without a GPU; and see DAWN in test/support/webgpu.ts. */
const FLAGS = [
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension',
];

/** In a worker, before its own code: the GPUs that it opens are lost where the page says so. */
const LOSABLE = `
const opened = [];
const requestDevice = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...args) {
  const device = await requestDevice.apply(this, args);
  opened.push(device);
  return device;
};
new BroadcastChannel('lose').onmessage = () => opened.forEach((device) => device.destroy());
`;

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

const pages = suite('a model on WebGPU in Chromium');
const executable = findChromium();

if (executable === undefined) {
  skip(pages, 'streams and stops', 'there is no Chromium: apt-get install chromium');
} else {
  const site = join(temporaryFolder('browser-webgpu'), 'site');
  mkdirSync(site, { recursive: true });
  const root = packageRoot();
  execFileSync(process.execPath, [join(root, 'runtime/src/browser/bundle.mjs'), site]);
  copyFileSync(join(root, 'test/browser/page.js'), join(site, 'page.js'));
  writeFileSync(join(site, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>');
  const out = join(site, '..');
  const { artifact, manifest } = await compile(defaultModel(), { target: 'webgpu', out });
  const fixtures = join(root, 'test', 'fixtures');
  const golden = JSON.parse(readFileSync(join(fixtures, 'b158-i2s.json'), 'utf8'));
  const small = await compile(join(fixtures, golden.model), { target: 'webgpu', out });
  const cases: { prompt: string; greedy: number[] }[] = JSON.parse(
    readFileSync(join(root, 'models', 'greedy.json'), 'utf8'),
  );
  const { greedy } = cases.find(({ prompt }) => prompt === PROMPT)!;

  const browser = await launchChromium(executable, ...FLAGS);
  const server = new StaticServer({ '/model/': artifact, '/small/': small.artifact, '/': site }, false);
  const address = await server.listen();
  pages.after(async () => {
    await browser.close();
    await server.close();
  });

  const visit = async (): Promise<Page> => {
    const page = await browser.newPage();
    await page.addInitScript(`
      const Plain = Blob;
      window.Blob = class extends Plain {
        constructor(parts, options) {
          super(options?.type === 'text/javascript' ? [${JSON.stringify(LOSABLE)}, ...parts] : parts, options);
        }
      };`);
    await page.goto(`${address}/`);
    await page.waitForFunction('window.bitnet !== undefined');
    return page;
  };
  const ask = <Result>(page: Page, what: string, ...args: readonly unknown[]): Promise<Result> =>
    page.evaluate(`window.bitnet.${what}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
  const lose = (page: Page) => page.evaluate("new BroadcastChannel('lose').postMessage('now')");

  const options = { kv: 'f32', sequences: 1, targets: ['webgpu'] };

  pages('tells the story that ref tells, and stops', async () => {
    const page = await visit();
    const loaded = await ask<Loaded>(page, 'load', '/model', options);
    assert.is(loaded.error, undefined);
    assert.is(loaded.target, 'webgpu');
    assert.is(loaded.memory.weights, Object.values(manifest.weights)[0].bytes);
    const { tokens } = await ask<Story>(page, 'generate', PROMPT, { temperature: 0, maxTokens: NEW_TOKENS });
    assert.equal(tokens, greedy.slice(0, NEW_TOKENS));
    const stopped = await ask<{ finishReason: string; tokens: number; afterwards: string }>(page, 'stop', PROMPT, 2);
    assert.is(stopped.finishReason, 'cancelled');
    assert.ok(stopped.tokens < 6 && stopped.afterwards.length > 0);
    await page.close();
  });

  pages('a GPU that is lost, at work or idle, is told of once at most, and has the model loaded again', async () => {
    const page = await visit();
    assert.is((await ask<Loaded>(page, 'load', '/small', options)).error, undefined);
    const tell = (maxTokens: number) =>
      ask<Story>(page, 'generate', golden.tokens, { temperature: 0, maxTokens, ignoreEos: true });
    const working = tell(100);
    await page.waitForTimeout(300);
    await lose(page);
    const { error, hint } = await working;
    assert.match(error!, /the GPU was lost/);
    assert.match(hint!, /loaded again/);
    assert.equal((await tell(NEW_TOKENS)).tokens, golden.greedy.slice(0, NEW_TOKENS));
    await lose(page);
    await page.waitForTimeout(300);
    assert.equal((await tell(NEW_TOKENS)).tokens, golden.greedy.slice(0, NEW_TOKENS));
    await page.close();
  });

  pages('what is no GPU is taken where it is asked for by name only; what it has no room for is refused', async () => {
    const page = await visit();
    const { error } = await ask<Loaded>(page, 'load', '/model');
    assert.match(error!, /webgpu \(what WebGPU reaches here is no GPU but the CPU\), wasm-simd128 \(the model was not/);
    const refused = await ask<Loaded>(page, 'load', '/model', { targets: ['webgpu'], memoryLimit: 8 << 20 });
    assert.match(refused.error!, /there is no room for the model: it takes \d+ MiB, and there may be 8 MiB at most/);
    await page.close();
  });
}

pages.run();
