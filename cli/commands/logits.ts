import { type FileHandle, open, rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { probeMachine } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import { emulateLogits } from '../../index.ts';
import { gpuTargetOf, parseTargets } from '../../targets/index.ts';
import { bytes } from '../format.ts';
import { type Io, say, writeJson } from '../io.ts';
import { addModelOptions, lowerOptions, type ModelOptions, openModel, parseTokens } from '../options.ts';
import { Progress } from '../progress.ts';

interface LogitsFlags extends ModelOptions {
  readonly tokens: readonly number[];
  /** Here the file of the logits, not a folder. */
  readonly out: string;
}

const NOTES = `
The file holds float32, little-endian, tokens × vocabulary. A target of another CPU architecture is run under an
emulator, with the same result and much slower. Artifacts of model files go to ./generated.

Examples:
  bitnet logits model.gguf --tokens 1,2,3 --out logits.f32
  bitnet logits model.gguf --tokens 1,2,3 --out logits.f32 --target arm-neon --kv f32`;

export function logitsCommand(program: Command, io: Io): void {
  const command = program
    .command('logits')
    .description('write the logits after every token of a sequence to a file')
    .argument('<model>', 'artifact folder or model file')
    .requiredOption('--tokens <ids>', 'token ids with commas', parseTokens)
    .requiredOption('--out <file>', 'file to write')
    .option('--json', 'print rows, vocabulary and target as JSON');
  addModelOptions(command, { out: false }).addHelpText('after', NOTES);
  command.action(async (path: string, flags: LogitsFlags) => {
    const { rows, vocab, target } = await (isForeign(flags.target) ? writeEmulated : writeOwn)(io, path, flags);
    if (flags.json) await writeJson(io, { out: flags.out, rows, vocab, target });
    else say(io, `${flags.out}: ${rows} × ${vocab} float32 (${bytes(rows * vocab * 4)}), by ${target}`);
  });
}

/** Whether the target's code is for another architecture than this machine's, and there is an emulator of it. */
function isForeign(id = 'native'): boolean {
  if (gpuTargetOf(id)) return false;
  const [target] = parseTargets(id);
  return target.arch !== 'any' && target.arch !== probeMachine().arch && target.cross !== undefined;
}

interface Written {
  readonly rows: number;
  readonly vocab: number;
  readonly target: string;
}

async function writeOwn(io: Io, path: string, { tokens, out, ...options }: LogitsFlags): Promise<Written> {
  const model = await openModel(io, path, options, { sequences: 1, contextLength: tokens.length });
  try {
    await writeFloats(out, model.logitRows(tokens, { signal: io.signal }));
    return { rows: tokens.length, vocab: model.info.vocab, target: model.target };
  } finally {
    await model.dispose();
  }
}

async function writeEmulated(io: Io, path: string, flags: LogitsFlags): Promise<Written> {
  const { tokens, out, target, kv, threads, json, quiet } = flags;
  if (flags.pin) throw new BitnetError('an emulator places its own threads: leave --pin out');
  const progress = new Progress(io, json || quiet);
  const { data, rows, vocab } = await emulateLogits(path, tokens, {
    ...(await lowerOptions(flags)),
    target: target!,
    kv,
    threads,
    onProgress: progress.onProgress,
    signal: io.signal,
  }).finally(() => progress.end());
  await writeFloats(out, [data]);
  return { rows, vocab, target: target! };
}

/** Writes the values one after the other. The file is not touched before there are any, and not left behind in part. */
async function writeFloats(path: string, parts: AsyncIterable<Float32Array> | Iterable<Float32Array>): Promise<void> {
  let file: FileHandle | undefined;
  const fail = (cause: Error) => {
    throw new BitnetError(`cannot write ${path}: ${cause.message}`, { cause });
  };
  try {
    for await (const part of parts) {
      file ??= await open(path, 'w').catch(fail);
      await file.writeFile(new Uint8Array(part.buffer, part.byteOffset, part.byteLength)).catch(fail);
    }
  } catch (error) {
    if ((await file?.stat())?.isFile()) await rm(path, { force: true });
    throw error;
  } finally {
    await file?.close();
  }
}
