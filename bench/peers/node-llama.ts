import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { cacheFolder } from '../../compiler/build/cache-folder.ts';
import { BitnetError } from '../../errors.ts';
import { load } from '../../index.ts';
import type { Engine, ModelFile, Work } from './engine.ts';
import { modelFile } from './engine.ts';

const VERSION = '3.22.1';
const PREBUILT: Record<string, string> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-x64': 'mac-x64',
  'darwin-arm64': 'mac-arm64-metal',
  'win32-x64': 'win-x64',
  'win32-arm64': 'win-arm64',
};
/** What the most probable token of one engine must be among in the other: they round differently. */
const NEAR = 8;

const answer = z.object({ prefillSeconds: z.number(), decodeSeconds: z.number(), tokens: z.array(z.number()) });

/** What the child process is told. */
export interface Task {
  /** node-llama-cpp's entry point. */
  readonly entry: string;
  readonly model: string;
  readonly threads: number;
  readonly prompt: readonly number[];
  readonly newTokens: number;
}
export type Answer = z.infer<typeof answer>;

/**
 * llama.cpp through node-llama-cpp, each round in a process of its own. It is installed from npm into the user's cache
 * on first use, with the prebuilt CPU library, and shown to agree with us on a tiny model before it is timed.
 */
export async function nodeLlama(model: ModelFile): Promise<Engine> {
  const entry = await install();
  await checkAgreement(entry, model);
  return {
    name: 'node-llama-cpp',
    model,
    async run({ threads, promptTokens, newTokens }: Work) {
      const task = { entry, model: model.path, threads, prompt: promptOf(promptTokens, 256), newTokens };
      const { prefillSeconds, decodeSeconds } = await runChild(task);
      return { prefill: promptTokens / prefillSeconds, decode: newTokens / decodeSeconds, version: VERSION };
    },
  };
}

async function install(): Promise<string> {
  const prebuilt = PREBUILT[`${process.platform}-${process.arch}`];
  if (prebuilt === undefined) throw new BitnetError('node-llama-cpp has no prebuilt library for this machine');
  const folder = cacheFolder('peers', `node-llama-cpp-${VERSION}`);
  const entry = join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  if (!existsSync(entry)) {
    await mkdir(folder, { recursive: true });
    const packages = [`node-llama-cpp@${VERSION}`, `@node-llama-cpp/${prebuilt}@${VERSION}`];
    console.error(`installing ${packages.join(' ')} into ${folder}`);
    const flags = ['install', '--prefix', folder, '--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund'];
    await promisify(execFile)('npm', [...flags, ...packages], { maxBuffer: 1 << 24 });
  }
  return entry;
}

/** After a few prompts its most probable next token must be one of our most probable ones. */
async function checkAgreement(entry: string, { weights, head, architecture }: ModelFile): Promise<void> {
  const tiny = await modelFile('tiny', weights, head, architecture);
  const model = await load(tiny.path, { threads: 1, sequences: 1, out: cacheFolder('peers', 'generated') });
  try {
    for (const length of [3, 10, 20]) {
      const prompt = promptOf(length, 256);
      const { tokens } = await runChild({ entry, model: tiny.path, threads: 1, prompt, newTokens: 1 });
      const { data, vocab } = await model.logits(prompt);
      const last = data.subarray((length - 1) * vocab);
      const rank = last.filter((logit) => logit > last[tokens[0]!]!).length;
      if (!(rank < NEAR))
        throw new BitnetError(`node-llama-cpp computes something else: its token is our number ${rank}`);
    }
  } finally {
    await model.dispose();
  }
}

/** Tokens that every vocabulary has, in no order. */
const promptOf = (length: number, vocab: number): number[] =>
  Array.from({ length }, (_, i) => (i * 97 + ((i * i) % 31)) % vocab);

async function runChild(task: Task): Promise<Answer> {
  const script = fileURLToPath(new URL('./node-llama-child.ts', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, JSON.stringify(task)], {
    maxBuffer: 1 << 24,
  });
  return answer.parse(JSON.parse(stdout.trim().split('\n').at(-1)!));
}
