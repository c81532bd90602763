// The browser package in headless Chromium, over HTTP: on a page that may have threads, and on one that may not.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { skip, testBeds } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findChromium, launchChromium } from './chromium.ts';
import {
  ask,
  greedyTokens,
  haveEnded,
  isReady,
  type Loaded,
  makeSite,
  openPage,
  PROMPT,
  type Stopped,
  type Story,
} from './pages.ts';
import { StaticServer } from './server.ts';

const TARGET = 'wasm-simd128';
const PIECE = 4 << 20;

const pages = suite('the browser package in Chromium');
const executable = findChromium();
const { absent } = await testBeds();
const unbuilt = absent.find(({ target }) => target.id === TARGET)?.reason;

if (executable === undefined || unbuilt !== undefined) {
  skip(pages, 'loads and streams', unbuilt ?? 'there is no Chromium: apt-get install chromium');
} else {
  const folder = temporaryFolder('browser');
  const site = makeSite(folder);
  const { artifact, manifest } = await compile(defaultModel(), { target: TARGET, out: folder });
  execFileSync('tar', ['--format=ustar', '-cf', join(site, 'model.tar'), '-C', artifact, '.']);
  writeFileSync(join(site, 'model.gguf'), 'GGUF and so on');
  writeFileSync(join(site, 'empty'), '');
  const greedy = greedyTokens();
  const { bytes } = Object.values(manifest.weights)[0]!;

  const browser = await launchChromium(executable);
  const opened: StaticServer[] = [];
  pages.after(async () => {
    await browser.close();
    for (const server of opened) await server.close();
  });

  async function serve(isolated: boolean): Promise<{ server: StaticServer; address: string }> {
    const server = new StaticServer({ '/model/': artifact, '/': site }, isolated);
    opened.push(server);
    return { server, address: await server.listen() };
  }

  /** A page of its own, with nothing stored, and its server. */
  async function visit(isolated: boolean): Promise<{ page: Page; server: StaticServer }> {
    const { server, address } = await serve(isolated);
    return { page: await openPage(browser, address), server };
  }
  const again = async (page: Page) => {
    await page.reload();
    await isReady(page);
  };
  const tell = async (page: Page, maxTokens = 8) =>
    (await ask<Story>(page, 'generate', PROMPT, { temperature: 0, maxTokens })).tokens;
  /** Loads the model, and tells what of its weights the server was asked for. */
  const rangesOfLoading = async (page: Page, server: StaticServer) => {
    server.requests.length = 0;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    return weightRequests(server).map(({ range }) => range);
  };
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
      const options = { temperature: 0, maxTokens: greedy.length };
      const story = await ask<Story>(page, 'generate', PROMPT, options);
      assert.equal(story.tokens, greedy);
      assert.ok(story.pieces.length > 20);
      assert.is(story.pieces.join(''), story.text);
      const stopped = await ask<Stopped>(page, 'stop', PROMPT, 5);
      assert.is(stopped.finishReason, 'cancelled');
      assert.ok(stopped.tokens < 60 && stopped.afterwards.length > 0);
      await page.context().close();
    });
  }

  pages('a browser that shares no memory gives one thread, and one that has little of it a smaller one', async () => {
    const little = 2048;
    const memory = `
      const { Memory } = WebAssembly;
      WebAssembly.Memory = class extends Memory {
        constructor(descriptor) {
          if (descriptor.maximum > ${little}) throw new RangeError('could not allocate memory');
          super(descriptor);
        }
      };`;
    const { address } = await serve(true);
    const page = await openPage(browser, address, memory);
    await page.evaluate('delete globalThis.SharedArrayBuffer');
    const { error, threads } = await ask<Loaded>(page, 'load', '/model', { targets: [TARGET] });
    assert.is(error, undefined);
    assert.is(threads, 1);
    assert.equal(await tell(page), greedy.slice(0, 8));
    const said = async (options: object) =>
      (await ask<Loaded>(page, 'load', '/model', { targets: [TARGET], ...options })).error!;
    assert.match(await said({ threads: 2 }), /this page may have one: this browser has no SharedArrayBuffer/);
    const [, most] = /there is no room for a KV cache .* there may be (\d+) MiB at most/.exec(
      await said({ sequences: 64, contextLength: 1024 }),
    )!;
    assert.ok(Number(most) <= little / 16 && Number(most) > little / 32);
    await page.context().close();
  });

  pages('a second visit downloads no weights, and needs no network', async () => {
    const { page, server } = await visit(false);
    await ask(page, 'load', '/model');
    // What comes instead of a manifest is not kept in its place.
    server.faults.pageFor = 'manifest.json';
    assert.match(
      (await ask<Loaded>(page, 'load', '/model')).error!,
      /manifest\.json cannot be read: .* a page in HTML/,
    );
    await again(page);
    server.requests.length = 0;
    server.faults.gone = true;
    const second = await ask<Loaded>(page, 'load', '/model');
    assert.is(second.error, undefined);
    assert.equal(weightRequests(server), []);
    await page.context().close();
  });

  pages('what is damaged where it is stored is downloaded again, and no more than that', async () => {
    const { page, server } = await visit(false);
    await ask(page, 'load', '/model');
    const spoils: readonly (readonly [string, string | null, readonly (string | undefined)[]])[] = [
      ['/1', 'something else', [`bytes=${PIECE}-`]],
      ['/2', null, [`bytes=${2 * PIECE}-`]],
      ['/0', '', [undefined]],
      ['/digests', 'one\ntwo', [`bytes=${Math.floor(bytes / PIECE) * PIECE}-`]],
    ];
    for (const [end, text, ranges] of spoils) {
      await ask(page, 'spoil', end, text);
      await again(page);
      assert.equal(await rangesOfLoading(page, server), ranges);
      assert.equal(await tell(page), greedy.slice(0, 8));
    }
    await page.context().close();
  });

  pages('what is stored of a model goes when another one runs in its place', async () => {
    const other = await compile(join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf'), {
      target: TARGET,
      out: folder,
    });
    const folders = { '/model/': artifact, '/': site };
    const server = new StaticServer(folders, false);
    opened.push(server);
    const page = await openPage(browser, await server.listen());
    const [before, after] = [manifest, other.manifest].map(({ weights }) => Object.values(weights)[0]!.sha256);
    const stored = async () => {
      const addresses = await ask<string[]>(page, 'stored');
      return [before, after].map((file) => addresses.some((address) => address.includes(file!)));
    };
    await ask(page, 'load', '/model');
    folders['/model/'] = other.artifact;
    server.faults.corrupt = '/weights/';
    assert.match((await ask<Loaded>(page, 'load', '/model')).error!, /damaged/);
    assert.equal(await stored(), [true, false]);
    delete server.faults.corrupt;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    assert.equal(await stored(), [false, true]);
    await page.context().close();
  });

  pages('what there is no room to store is downloaded each time', async () => {
    const { page, server } = await visit(false);
    const session = await page.context().newCDPSession(page);
    const { origin } = new URL(page.url());
    await session.send('Storage.overrideQuotaForOrigin', { origin, quotaSize: PIECE + (2 << 20) });
    for (const ranges of [[undefined], [`bytes=${PIECE}-`]]) {
      assert.equal(await rangesOfLoading(page, server), ranges);
    }
    assert.equal(await tell(page), greedy.slice(0, 8));
    await page.context().close();
  });

  pages('a download that breaks off goes on where it was, and so does one that was left', async () => {
    for (const faults of [{ noRanges: true }, { longestRange: 3 << 20, busy: 1 }, { gzip: true }]) {
      const { page, server } = await visit(false);
      Object.assign(server.faults, faults, { breakAfter: 5 << 20 });
      const { error, steps } = await ask<Loaded>(page, 'load', '/model');
      assert.is(error, undefined);
      const [first, ...others] = weightRequests(server).map(({ range }) => range);
      assert.is(first, undefined);
      assert.ok(others.length >= 1 && others.at(-1));
      const loaded = steps.filter(({ stage }) => stage === 'weights').map((step) => step.loaded!);
      assert.is(loaded.at(-1), bytes);
      assert.ok(loaded.every((count, i) => i === 0 || count > loaded[i - 1]!));
      await page.context().close();
    }
    const { page, server } = await visit(false);
    assert.is(await ask(page, 'leave', '/model', 0), true);
    server.requests.length = 0;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    assert.match(weightRequests(server)[0]!.range!, /^bytes=\d{7,}-$/);
    await page.context().close();
  });

  pages('a file that is not the one that was compiled is refused, and not kept', async () => {
    const { page, server } = await visit(false);
    const { library } = manifest.targets[TARGET]!;
    for (const [file, what] of [
      [manifest.tokenizer.file, 'tokenizer'],
      [library, 'library'],
      ['weights/', 'weights'],
    ]) {
      server.faults.corrupt = file!;
      const refused = await ask<Loaded>(page, 'load', '/model');
      assert.match(refused.error!, `is damaged: it is not the ${what} file that was compiled`);
      assert.ok(refused.own);
    }
    delete server.faults.corrupt;
    server.faults.longer = true;
    assert.match((await ask<Loaded>(page, 'load', '/model')).error!, 'it is not the weights file that was compiled');
    server.faults.longer = false;
    server.faults.pageFor = 'weights/';
    assert.match(
      (await ask<Loaded>(page, 'load', '/model')).error!,
      /weights.* cannot be downloaded: .* a page in HTML/,
    );
    delete server.faults.pageFor;
    assert.is((await ask<Loaded>(page, 'load', '/model')).error, undefined);
    await page.context().close();
  });

  pages('a server of another origin gives its models where it allows that', async () => {
    const other = await serve(false);
    const { page } = await visit(false);
    const refused = await ask<Loaded>(page, 'load', `${other.address}/model/`);
    assert.match(refused.error!, /manifest\.json cannot be read/);
    assert.match(refused.hint!, /CORS/);
    Object.assign(other.server.faults, { headers: { 'Access-Control-Allow-Origin': '*' }, breakAfter: 5 << 20 });
    assert.is((await ask<Loaded>(page, 'load', `${other.address}/model/`)).error, undefined);
    await page.context().close();
  });

  pages('loading is left with the reason given, at any time, and nothing stays behind', async () => {
    const { page } = await visit(true);
    for (const share of [0, 1]) {
      assert.is(await ask(page, 'leave', '/model', share, { targets: [TARGET] }), true);
      await haveEnded(page);
    }
    await page.context().close();
  });

  pages('one model is loaded twice at once, and disposed of while it tells', async () => {
    const { page } = await visit(false);
    const options = { temperature: 0, maxTokens: 8 };
    assert.equal(await ask(page, 'loadTwice', '/model', PROMPT, options), [greedy.slice(0, 8), greedy.slice(0, 8)]);
    await ask(page, 'load', '/model');
    assert.match((await ask<Story>(page, 'disposeAt', PROMPT, 3)).error!, /the model was disposed/);
    assert.match((await ask<Story>(page, 'generate', PROMPT, {})).error!, /the model was disposed/);
    await haveEnded(page);
    await page.context().close();
  });

  pages('a file, or its bytes, are as good as an address', async () => {
    const { page } = await visit(false);
    for (const as of ['file', 'bytes']) {
      assert.is((await ask<Loaded>(page, 'loadBytes', '/model.tar', as)).error, undefined);
      assert.equal(await tell(page), greedy.slice(0, 8));
      await ask(page, 'dispose');
    }
    await page.context().close();
  });

  pages('what cannot be had is said', async () => {
    const { page, server } = await visit(false);
    const said = async (from: string, options: object) => (await ask<Loaded>(page, 'load', from, options)).error;
    assert.match((await said('/nowhere', {}))!, /manifest\.json cannot be read: the server answers 404/);
    assert.match((await said('/model', { threads: 4 }))!, /this page may have one: it is not cross-origin isolated/);
    assert.match(
      (await said('/model', { memoryLimit: 8 << 20 }))!,
      /none of the targets of .*: webgpu \(.*\), wasm-simd128 \(there is no room for the weights: .* 8 MiB at most\), webgl \(/,
    );
    assert.match(
      (await said('/model', { memoryLimit: 8 << 20, targets: [TARGET] }))!,
      /^there is no room for the weights: .* there may be 8 MiB at most/,
    );
    assert.match((await said('/model', { targets: [TARGET, 'cuda'] }))!, /there is no target cuda for browsers/);
    assert.match((await said('/model', { contextLength: 1e6 }))!, /room for 1000000 tokens was asked for/);
    assert.match((await said('/model', { thread: 4 }))!, /there is no option thread/);
    for (const [file, error] of [
      ['/page.js', 'the file is no tar archive'],
      ['/empty', 'the file is no tar archive'],
      ['/model.gguf', 'the file is a model that is not compiled'],
    ] as const) {
      assert.match((await ask<Loaded>(page, 'loadBytes', file, 'file')).error!, error);
    }
    // In Firefox's words, which end with a full stop.
    await page.evaluate(
      "globalThis.fetch = () => Promise.reject(new TypeError('NetworkError when attempting to fetch.'))",
    );
    assert.match((await said('/nowhere', {}))!, /cannot be read: NetworkError when attempting to fetch$/);
    server.faults.headers = { 'Content-Security-Policy': "worker-src 'self'" };
    await again(page);
    const refused = await ask<Loaded>(page, 'load', '/model', { targets: [TARGET] });
    assert.match(refused.error!, /a thread of the model could not be started/);
    assert.match(refused.hint!, /worker-src blob:/);
    await page.evaluate("globalThis.Worker = function () { throw new DOMException('The operation is insecure.') }");
    const thrown = await ask<Loaded>(page, 'load', '/model', { targets: [TARGET] });
    assert.equal([thrown.error, thrown.own], [refused.error, true]);
    server.faults.headers = { 'Content-Security-Policy': "script-src 'self' blob:" };
    await again(page);
    assert.match((await ask<Loaded>(page, 'load', '/model', { targets: [TARGET] })).hint!, /'wasm-unsafe-eval'/);
    await page.context().close();
  });
}

pages.run();
