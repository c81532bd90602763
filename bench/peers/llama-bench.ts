import { execFile } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { BitnetError } from '../../errors.ts';
import type { Engine, ModelFile, Speeds, Work } from './engine.ts';

/** What we read of an entry of `llama-bench -o json`, in all its descendants. */
const entries = z.array(
  z.object({
    build_commit: z.string(),
    model_n_params: z.number(),
    n_threads: z.number(),
    n_prompt: z.number(),
    n_gen: z.number(),
    avg_ts: z.number().positive(),
  }),
);

/** What norms and scales may add to the number of parameters. */
const WITHOUT_NORMS = 0.01;

/** An engine of llama.cpp's family, through its llama-bench: the path of the program, or of a folder that holds it. */
export function llamaBench(name: string, path: string, model: ModelFile, more: readonly string[] = []): Engine {
  const program = isFolder(path) ? join(path, 'llama-bench') : path;
  return { name, model, run: (work) => runOnce(program, model, work, more) };
}

async function runOnce(program: string, model: ModelFile, work: Work, more: readonly string[]): Promise<Speeds> {
  const { threads, promptTokens, newTokens } = work;
  const counts = ['-p', promptTokens, '-n', newTokens, '-t', threads, '-r', 1, '-ngl', 0].map(String);
  const { stdout } = await promisify(execFile)(program, ['-m', model.path, ...counts, ...more, '-o', 'json'], {
    maxBuffer: 1 << 24,
  });
  return readSpeeds(stdout, model.parameters, work);
}

/**
 * The speeds that a llama-bench has printed, after a check that it ran this model and did what it was told to.
 * @throws BitnetError where it did anything else
 */
export function readSpeeds(printed: string, parameters: readonly number[], work: Work): Speeds {
  // Some builds print a line before the list.
  const found = entries.safeParse(parse(printed.slice(Math.max(0, printed.search(/^\[/m)))));
  if (!found.success) throw new BitnetError(`llama-bench printed no list of results: ${printed.slice(0, 200)}`);
  const prefill = found.data.find(({ n_prompt, n_gen }) => n_prompt === work.promptTokens && n_gen === 0);
  const decode = found.data.find(({ n_prompt, n_gen }) => n_prompt === 0 && n_gen === work.newTokens);
  if (!prefill || !decode) throw new BitnetError('llama-bench did not run the prompt and the tokens asked for');
  for (const { n_threads, model_n_params } of [prefill, decode]) {
    if (n_threads !== work.threads) throw new BitnetError(`llama-bench ran ${n_threads} threads`);
    if (!parameters.some((count) => Math.abs(model_n_params / count - 1) < WITHOUT_NORMS)) {
      throw new BitnetError(`llama-bench read a model of ${model_n_params} parameters, not ${parameters[0]}`);
    }
  }
  return { prefill: prefill.avg_ts, decode: decode.avg_ts, version: prefill.build_commit };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (cause) {
    throw new BitnetError(`there is no ${path}`, { cause });
  }
}
