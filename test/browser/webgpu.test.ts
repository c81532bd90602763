// A model on WebGPU in headless Chromium, whose GPU is SwiftShader.
import { readFileSync } from 'node:fs';
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
import {
  ask,
  greedyTokens,
  haveEnded,
  type Loaded,
  makeSite,
  openPage,
  PROMPT,
  type Step,
  type Stopped,
  type Story,
} from './pages.ts';
import { StaticServer } from './server.ts';

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

/** In a worker: shaders are compiled for ever. */
const ENDLESS = 'GPUDevice.prototype.createComputePipelineAsync = () => new Promise(() => {});';

/** In a browser of 2023 adapters had no `info`. */
const OLD = 'delete GPUAdapter.prototype.info;';

const pages = suite('a model on WebGPU in Chromium');
const executable = findChromium();

if (executable === undefined) {
  skip(pages, 'streams and stops', 'there is no Chromium: apt-get install chromium');
} else {
  const out = temporaryFolder('browser-webgpu');
  const site = makeSite(out);
  const { artifact, manifest } = await compile(defaultModel(), { target: 'webgpu', out });
  const fixtures = join(packageRoot(), 'test', 'fixtures');
  const golden = JSON.parse(readFileSync(join(fixtures, 'b158-i2s.json'), 'utf8'));
  const small = await compile(join(fixtures, golden.model), { target: 'webgpu', out });
  const greedy = greedyTokens();

  const browser = await launchChromium(executable, ...FLAGS);
  const server = new StaticServer({ '/model/': artifact, '/small/': small.artifact, '/': site }, false);
  const address = await server.listen();
  pages.after(async () => {
    await browser.close();
    await server.close();
  });

  const visit = (worker: string) => openPage(browser, address, worker);
  const lose = (page: Page) => page.evaluate("new BroadcastChannel('lose').postMessage('now')");

  const options = { kv: 'f32', sequences: 1, targets: ['webgpu'] };

  pages('tells the story that ref tells, and stops', async () => {
    const page = await visit('');
    const loaded = await ask<Loaded>(page, 'load', '/model', options);
    assert.is(loaded.error, undefined);
    assert.is(loaded.target, 'webgpu');
    assert.is(loaded.memory.weights, Object.values(manifest.weights)[0].bytes);
    const { tokens } = await ask<Story>(page, 'generate', PROMPT, { temperature: 0, maxTokens: NEW_TOKENS });
    assert.equal(tokens, greedy.slice(0, NEW_TOKENS));
    const stopped = await ask<Stopped>(page, 'stop', PROMPT, 2);
    assert.is(stopped.finishReason, 'cancelled');
    assert.ok(stopped.tokens < 6 && stopped.afterwards.length > 0);
    await page.context().close();
  });

  pages('a GPU that is lost, at work or idle, is told of once at most, and has the model loaded again', async () => {
    const page = await visit(LOSABLE);
    assert.is((await ask<Loaded>(page, 'load', '/small', options)).error, undefined);
    // Whoever has loaded the model neither hears of its loading again nor stops it.
    await ask(page, 'abort');
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
    assert.is((await ask<Step[]>(page, 'steps')).at(-1)!.stage, 'ready');
    await page.context().close();
  });

  pages('what is no GPU is taken where it is asked for by name only; what it has no room for is refused', async () => {
    const page = await visit('');
    const { error } = await ask<Loaded>(page, 'load', '/model');
    assert.match(error!, /webgpu \(what WebGPU reaches here is no GPU but the CPU\), wasm-simd128 \(the model was not/);
    const refused = await ask<Loaded>(page, 'load', '/model', { targets: ['webgpu'], memoryLimit: 8 << 20 });
    assert.match(refused.error!, /there is no room for the model: \d+ MiB in all, and there may be 8 MiB at most/);
    const neither = await ask<Loaded>(page, 'load', '/model', {
      targets: ['webgpu', 'wasm-simd128'],
      memoryLimit: 8 << 20,
    });
    assert.match(neither.error!, /webgpu \(there is no room .*\), wasm-simd128 \(the model was not compiled for it\)/);
    await page.context().close();
  });

  pages('a file that is not the one that was compiled is refused', async () => {
    const page = await visit('');
    for (const [file, what] of [
      [small.manifest.targets.webgpu.library, 'library'],
      ['weights/', 'weights'],
    ]) {
      server.faults.corrupt = file!;
      const { error } = await ask<Loaded>(page, 'load', '/small', options);
      assert.match(error!, `is damaged: it is not the ${what} file that was compiled`);
    }
    delete server.faults.corrupt;
    await page.context().close();
  });

  pages('loading is left while shaders are compiled', async () => {
    const page = await visit(ENDLESS);
    assert.is(await ask(page, 'leave', '/small', 1, options), true);
    await haveEnded(page);
    await page.context().close();
  });

  pages('where threads have no WebGPU that is said', async () => {
    const page = await visit('delete WorkerNavigator.prototype.gpu;');
    const { error } = await ask<Loaded>(page, 'load', '/small', options);
    assert.is(error, 'this browser has WebGPU for pages, but not for their threads');
    await page.context().close();
  });

  pages('a browser that says nothing of its GPU will do', async () => {
    const page = await visit(OLD);
    await page.evaluate(OLD);
    const { error, device } = await ask<Loaded>(page, 'load', '/small', options);
    assert.equal([error, device], [undefined, 'a GPU']);
    await page.context().close();
  });
}

pages.run();
