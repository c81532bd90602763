import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Finding, TensorCheck, VerifyReport } from '../../compiler/index.ts';
import { BitnetError } from '../../errors.ts';
import { percent, printable, table } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { addImportOptions, type ImportFlags, importOptions } from '../options.ts';
import { Progress } from '../progress.ts';

interface VerifyFlags extends ImportFlags {
  readonly sha256?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const NOTES = `
Everything is read: structure and sizes, keys and tokenizer, every ternary code and scale, every norm and embedding. All
that is wrong is listed, each with its tensor and byte offset where it has one, and the exit code is then 1. Of an
artifact folder, every file is compared with the sha256 in its manifest.

Examples:
  bitnet verify model.gguf --sha256 4221b252fdd5fd25e15847adfeb5ee88886506ba50b8a34548374492884c2162
  bitnet verify generated/storyteller-25m-1a2b3c4d
  bitnet verify folder --json | jq .findings`;

function parseSha256(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError('It must be 64 hexadecimal digits.');
  return text;
}

export function verifyCommand(program: Command, io: Io): void {
  const command = program
    .command('verify')
    .description('check every byte of a model file, a Hugging Face folder or an artifact')
    .argument('<model>', 'GGUF file, SafeTensors file, Hugging Face folder or artifact folder')
    .addOption(new Option('--sha256 <hex>', 'sha256 that the file must have').argParser(parseSha256));
  addImportOptions(command)
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', NOTES)
    .action(async (model: string, flags: VerifyFlags) => {
      const { json, quiet } = flags;
      const { verifyFile } = await import('../../compiler/index.ts');
      const { resolveModel } = await import('../../compiler/hub/resolve.ts');
      const progress = new Progress(io, json || quiet);
      const report = await verifyFile(await resolveModel(model), {
        sha256: flags.sha256,
        ...(await importOptions(flags)),
        onProgress: ({ message, fraction }) => progress.update(message, fraction),
        signal: io.signal,
      }).finally(() => progress.end());
      await (json ? writeJson(io, report) : print(io, report));
      const { length } = report.findings;
      if (length > 0) throw new BitnetError(`${model} has ${length === 1 ? 'a fault' : `${length} faults`}`);
    });
}

async function print(io: Io, { path, kind, tensors, findings }: VerifyReport): Promise<void> {
  if (tensors.length > 0) {
    const rows = tensors.map((tensor) => [
      printable(tensor.name),
      tensor.shape.join(' × '),
      tensor.encoding,
      String(tensor.offset),
      ternaryPart(tensor),
    ]);
    await write(io, table(['tensor', 'shape', 'type', 'offset', 'ternary'], rows));
  }
  for (const finding of findings) await write(io, `${line(finding)}\n`);
  if (findings.length === 0) say(io, `${path}: nothing is wrong with this ${NAMES[kind]}`);
}

const NAMES: Readonly<Record<VerifyReport['kind'], string>> = {
  gguf: 'GGUF model',
  safetensors: 'SafeTensors model',
  artifact: 'artifact',
};

function ternaryPart({ scale, zeros }: TensorCheck): string {
  return scale === undefined ? '' : `${percent(zeros!)} zeros, scale ${scale.toPrecision(6)}`;
}

function line({ problem, file, offset, hint }: Finding): string {
  const place = offset === undefined ? '' : ` (byte ${offset})`;
  // Errors of readers name the file themselves.
  const named = file === undefined || problem.startsWith(`${file}: `);
  return printable(`${named ? '' : `${file}${place}: `}${problem}${hint === undefined ? '' : ` - ${hint}`}`);
}
