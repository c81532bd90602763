import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { BitnetError } from '../../errors.ts';
import { excerpt } from './tool.ts';

/** The npm package that holds clang and lld as WebAssembly, and the name of the compiler it is. */
export const YOWASP = '@yowasp/clang';

/** Where the package is, seen from the folder that a program is compiled from, or from this package. */
function entryOf(): string | undefined {
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return createRequire(from).resolve(YOWASP);
    } catch {
      // Not there.
    }
  }
  return undefined;
}

/** The version of the package, where it is installed. */
export async function yowaspVersion(): Promise<string | undefined> {
  const entry = entryOf();
  if (entry === undefined) return undefined;
  const { version } = JSON.parse(await readFile(join(dirname(entry), '..', 'package.json'), 'utf8'));
  return `${YOWASP} ${version}`;
}

/** What the thread does: runs clang++ on files in memory, one command after the other, and gives back what they wrote. */
const THREAD = `
const { parentPort, workerData: { entry, commands, files } } = require('node:worker_threads');
console.log = () => {}; // it tells what it loads there, asked or not
import(entry).then(async ({ commands: { 'clang++': clang } }) => {
  let tree = files, log = '';
  const stderr = (bytes) => { if (bytes) log += Buffer.from(bytes).toString(); };
  for (const args of commands) {
    try {
      tree = await clang(args, tree, { stderr, stdout: stderr });
    } catch (error) {
      parentPort.postMessage({ error: log || String(error) });
      return;
    }
  }
  parentPort.postMessage({ tree });
});
`;

type Tree = { [name: string]: Tree | Uint8Array };

/**
 * Runs commands of clang++ in a folder, in a thread: the compiler is WebAssembly itself, and sees no other files. Of what
 * they write, `outputs` are kept.
 * @throws BitnetError with the compiler's errors
 */
export async function yowaspRun(
  folder: string,
  commands: readonly (readonly string[])[],
  outputs: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  signal?.throwIfAborted();
  const entry = pathToFileURL(entryOf()!).href;
  const worker = new Worker(THREAD, {
    eval: true,
    execArgv: [],
    workerData: { entry, commands, files: await treeOf(folder) },
  });
  const end = () => void worker.terminate();
  signal?.addEventListener('abort', end);
  try {
    const tree = await new Promise<Tree>((resolve, reject) => {
      worker.on('message', ({ tree, error }) => {
        if (tree) resolve(tree);
        else reject(new BitnetError(`${YOWASP} failed\n${excerpt(error)}`));
      });
      worker.on('error', reject);
      worker.on('exit', () => reject(signal?.aborted ? signal.reason : new Error(`${YOWASP} has ended`)));
    });
    for (const output of outputs) {
      const content = output.split('/').reduce<Tree | Uint8Array>((within, name) => (within as Tree)[name]!, tree);
      await writeFile(join(folder, output), content as Uint8Array);
    }
  } finally {
    signal?.removeEventListener('abort', end);
    await worker.terminate();
  }
}

async function treeOf(folder: string): Promise<Tree> {
  const entries = await readdir(folder, { withFileTypes: true });
  const parts = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    return [entry.name, entry.isDirectory() ? await treeOf(path) : new Uint8Array(await readFile(path))] as const;
  });
  return Object.fromEntries(await Promise.all(parts));
}
