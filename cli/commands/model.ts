import type { Command } from 'commander';
import type { CachedModel, HubProgress } from '../../compiler/hub/index.ts';
import { BitnetError } from '../../errors.ts';
import { bytes, table } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { Progress } from '../progress.ts';

interface Flags {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

interface DownloadFlags extends Flags {
  readonly file?: readonly string[];
  readonly revision?: string;
  readonly offline?: boolean;
  readonly token?: string;
}

const EXAMPLES = `
Models are kept in the user's data folder; BITNET_MODELS sets another one. HF_ENDPOINT sets a mirror of the Hub, HF_TOKEN
the access token, HF_HUB_OFFLINE=1 is --offline. A model of another revision than main is called owner/name@revision.
Wherever a command takes a model, the name of one that has been downloaded will do.

Examples:
  bitnet model download microsoft/bitnet-b1.58-2B-4T-gguf
  bitnet run microsoft/bitnet-b1.58-2B-4T-gguf -p "Once upon a time"
  bitnet model list
  bitnet model remove microsoft/bitnet-b1.58-2B-4T-gguf`;

const DOWNLOAD_NOTES = `
Without --file it is the GGUF of the repository, or where there is none its config.json, SafeTensors and tokenizer.
A download that was interrupted goes on where it ended. Every byte is checked, also of what was there before.

Examples:
  bitnet model download microsoft/bitnet-b1.58-2B-4T-gguf --file ggml-model-i2_s.gguf
  bitnet model download microsoft/bitnet-b1.58-2B-4T --revision main
  HF_ENDPOINT=https://hub.example.org bitnet model download owner/name`;

export function modelCommand(program: Command, io: Io): void {
  const model = program
    .command('model')
    .description('download models from the Hugging Face Hub, and keep them')
    .addHelpText('after', EXAMPLES);
  model
    .command('list')
    .description('show the models that have been downloaded')
    .option('--json', 'print them as JSON')
    .addHelpText('after', '\nExamples:\n  bitnet model list')
    .action((flags: Flags) => list(io, flags));
  model
    .command('download')
    .description('download a model, or bring one up to date')
    .argument('<name>', 'owner/name, as on the Hub')
    .option('--file <name>', 'this file of it; may be given more than once', (file, all: string[] = []) => [
      ...all,
      file,
    ])
    .option('--revision <name>', 'branch, tag or commit (default: main)')
    .option('--offline', 'ask nobody: see that it is there')
    .option('--token <token>', 'access token for private and gated models (HF_TOKEN does not show among the processes)')
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', DOWNLOAD_NOTES)
    .action((name: string, flags: DownloadFlags) => download(io, name, flags));
  model
    .command('verify')
    .description('read a downloaded model again, and compare it with what came')
    .argument('<name>', 'as bitnet model list shows it')
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', '\nExamples:\n  bitnet model verify microsoft/bitnet-b1.58-2B-4T-gguf')
    .action((name: string, flags: Flags) => verify(io, name, flags));
  model
    .command('remove')
    .description('delete a downloaded model')
    .argument('<name>', 'exactly as bitnet model list shows it')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', '\nExamples:\n  bitnet model remove microsoft/bitnet-b1.58-2B-4T-gguf')
    .action((name: string, flags: Flags) => remove(io, name, flags));
}

/** Runs work on the cache with its progress shown. */
async function shown<T>(
  io: Io,
  { json, quiet }: Flags,
  work: (options: { onProgress: (progress: HubProgress) => void; signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const progress = new Progress(io, json || quiet);
  const onProgress = ({ message, fraction }: HubProgress) => progress.update(message, fraction);
  return work({ onProgress, signal: io.signal }).finally(() => progress.end());
}

const asJson = ({ name, folder, record, bytes: size, unfinishedBytes, format }: CachedModel) => ({
  name,
  complete: record !== undefined,
  revision: record?.revision ?? null,
  commit: record?.commit ?? null,
  downloaded: record?.downloaded ?? null,
  format,
  bytes: size,
  unfinishedBytes,
  folder,
  files: record?.files ?? [],
});

async function list(io: Io, { json }: Flags): Promise<void> {
  const { listModels, modelsFolder } = await import('../../compiler/hub/index.ts');
  const models = await listModels();
  if (json) return writeJson(io, models.map(asJson));
  if (models.length === 0) return say(io, `no models in ${modelsFolder()}`);
  const rows = models.map(({ name, record, bytes: size, unfinishedBytes, format }) => [
    name,
    record ? record.commit.slice(0, 8) : 'not complete',
    record ? format : '',
    String(record?.files.length ?? ''),
    bytes(size + unfinishedBytes),
    record?.downloaded.slice(0, 10) ?? '',
  ]);
  return write(io, table(['model', 'revision', 'format', 'files', 'size', 'downloaded'], rows));
}

async function download(io: Io, name: string, flags: DownloadFlags): Promise<void> {
  const { downloadModel } = await import('../../compiler/hub/index.ts');
  const { file: files, revision, offline, token } = flags;
  const { model, runsAs, path, fetchedBytes } = await shown(io, flags, (shownBy) =>
    downloadModel(name, { files, revision, offline, token, ...shownBy }),
  );
  if (flags.json) return writeJson(io, { ...asJson(model), path, runsAs: runsAs ?? null, fetchedBytes });
  const state = fetchedBytes > 0 ? `downloaded ${bytes(fetchedBytes)}` : 'up to date';
  const count = model.record!.files.length;
  say(io, `${state}: ${model.name}, ${count} file${count === 1 ? '' : 's'}, ${bytes(model.bytes)}, all checked`);
  if (runsAs !== undefined) say(io, `run it with: bitnet run ${runsAs} -p "Once upon a time"`);
  return write(io, `${path}\n`);
}

async function verify(io: Io, name: string, flags: Flags): Promise<void> {
  const { verifyModel } = await import('../../compiler/hub/index.ts');
  const files = await shown(io, flags, (options) => verifyModel(name, options));
  const damaged = files.filter(({ problem }) => problem !== undefined);
  if (flags.json) await writeJson(io, { name, ok: damaged.length === 0, files });
  else {
    const rows = files.map(({ path, bytes: size, sha256, problem }) => [path, bytes(size), sha256, problem ?? 'ok']);
    await write(io, table(['file', 'size', 'sha256', ''], rows));
  }
  if (damaged.length === 0) return;
  throw new BitnetError(`${damaged.length} of ${files.length} files of ${name} are not as they came`, {
    hint: `bitnet model download ${name} brings them again`,
  });
}

async function remove(io: Io, name: string, flags: Flags): Promise<void> {
  const { removeModel } = await import('../../compiler/hub/index.ts');
  const model = await shown(io, flags, (options) => removeModel(name, options));
  if (flags.json) return writeJson(io, asJson(model));
  return say(io, `removed ${model.name}: ${bytes(model.bytes + model.unfinishedBytes)}`);
}
