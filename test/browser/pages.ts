import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { packageRoot } from '../../package-root.ts';

/** What a page tells of a model that it has loaded, or of why it has not. */
export interface Loaded {
  readonly error?: string;
  readonly hint?: string;
  /** Whether the error is a BitnetError. */
  readonly own?: boolean;
  readonly target: string;
  readonly device: string | null;
  readonly threads: number;
  readonly rejected: readonly { readonly target: string; readonly reason: string }[];
  readonly memory: Record<string, number>;
  readonly steps: readonly Step[];
}

/** What onProgress was told. */
export interface Step {
  readonly stage: string;
  readonly target?: string;
  readonly loaded?: number;
  readonly total?: number;
}

export interface Story {
  readonly error?: string;
  readonly hint?: string;
  readonly pieces: readonly string[];
  readonly text: string;
  readonly tokens: readonly number[];
}

export interface Stopped {
  readonly finishReason: string;
  readonly tokens: number;
  readonly afterwards: string;
}

export const PROMPT = 'Once upon a time';

/** What ref gives after PROMPT with the default model. */
export function greedyTokens(): number[] {
  const cases: { prompt: string; greedy: number[] }[] = JSON.parse(
    readFileSync(join(packageRoot(), 'models', 'greedy.json'), 'utf8'),
  );
  return cases.find(({ prompt }) => prompt === PROMPT)!.greedy;
}

/** A folder with the package, in `into`, and a page that does what tests ask: page.js. */
export function makeSite(into: string): string {
  const site = join(into, 'site');
  mkdirSync(site, { recursive: true });
  execFileSync(process.execPath, [join(packageRoot(), 'runtime/src/browser/bundle.mjs'), site]);
  copyFileSync(join(packageRoot(), 'test/browser/page.js'), join(site, 'page.js'));
  writeFileSync(join(site, 'index.html'), '<!doctype html><script type="module" src="/page.js"></script>');
  return site;
}

/** A page of such a site, with nothing stored. `worker` is put before the code of its workers. */
export async function openPage(browser: Browser, address: string, worker = ''): Promise<Page> {
  const page = await (await browser.newContext()).newPage();
  if (worker !== '') {
    await page.addInitScript(`
      const Plain = Blob;
      window.Blob = class extends Plain {
        constructor(parts, options) {
          super(options?.type === 'text/javascript' ? [${JSON.stringify(worker)}, ...parts] : parts, options);
        }
      };`);
  }
  await page.goto(`${address}/`);
  await isReady(page);
  return page;
}

export const isReady = (page: Page) => page.waitForFunction('window.bitnet !== undefined');

/** Waits until the page has no workers any more; fails where they do not end. */
export async function haveEnded(page: Page): Promise<void> {
  for (let waited = 0; page.workers().length > 0; waited += 50) {
    if (waited > 10_000) throw new Error(`${page.workers().length} workers have not ended`);
    await page.waitForTimeout(50);
  }
}

/** Calls a function of page.js. */
export const ask = <Result>(page: Page, what: string, ...args: readonly unknown[]): Promise<Result> =>
  page.evaluate(`window.bitnet.${what}(${args.map((arg) => JSON.stringify(arg)).join(', ')})`);
