import { type Command, Option } from 'commander';
import type { ConvertReport, EmbedType, Format, TensorReport, WeightType } from '../../compiler/convert/options.ts';
import { EMBED_TYPES, FORMATS, WEIGHT_TYPES } from '../../compiler/convert/options.ts';
import { bytes, printable, table } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { addImportOptions, type ImportFlags, importOptions } from '../options.ts';
import { Progress } from '../progress.ts';

interface ConvertFlags extends ImportFlags {
  readonly to: Format;
  readonly type?: WeightType;
  readonly embedType?: EmbedType;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const NOTES = `
Nothing is lost in silence: the result is read back and compared with the input before it gets its name. Ternary
weights and their scales are the same bit for bit; what a type cannot hold exactly is refused. Only embedding table
and head may be made smaller than they were.

TL1 and TL2 are laid out by tiles: those of --config (bitnet.cpp's kernel_config.ini), or chosen ones, which are then
written to OUT.ini. Reading such a file needs its .ini.

Examples:
  bitnet convert model.gguf small.gguf --to gguf --type tq1_0 --embed-type q6_k
  bitnet convert model.gguf folder --to safetensors
  bitnet convert model.gguf folder/model.safetensors --to safetensors
  bitnet convert folder model.gguf --to gguf --type tl2 --config kernel_config.ini`;

export function convertCommand(program: Command, io: Io): void {
  const command = program
    .command('convert')
    .description('turn a model into another format or type, without losing a bit of its ternary weights')
    .argument('<in>', 'GGUF file, SafeTensors file or Hugging Face folder')
    .argument(
      '<out>',
      'file, or for SafeTensors a folder, or a .safetensors file with its settings beside it; replaced when the result is complete',
    )
    .addOption(new Option('--to <format>', 'format of the result').choices(FORMATS).makeOptionMandatory())
    .addOption(
      new Option(
        '--type <type>',
        'what ternary weights are stored as (default: i2_s, or packed bytes in SafeTensors)',
      ).choices(WEIGHT_TYPES),
    )
    .addOption(
      new Option('--embed-type <type>', 'what embedding table and head are stored as (default: as they are)').choices(
        EMBED_TYPES,
      ),
    );
  addImportOptions(command, 'kernel .ini by which TL1 or TL2 weights are laid out, in <in> or <out>')
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', NOTES)
    .action(async (input: string, output: string, flags: ConvertFlags) => {
      const { json, quiet } = flags;
      const { convert } = await import('../../compiler/index.ts');
      const { resolveModel } = await import('../../compiler/hub/resolve.ts');
      const progress = new Progress(io, json || quiet);
      const report = await convert(await resolveModel(input), output, {
        to: flags.to,
        type: flags.type,
        embedType: flags.embedType,
        ...(await importOptions(flags)),
        onProgress: ({ message, fraction }) => progress.update(message, fraction),
        signal: io.signal,
      }).finally(() => progress.end());
      await (json ? writeJson(io, report) : print(io, report));
    });
}

async function print(io: Io, { output, weights, bytes: size, config, tensors, notes }: ConvertReport): Promise<void> {
  const rows = tensors.map((tensor) => [
    printable(tensor.name),
    tensor.shape.join(' × '),
    `${tensor.from ?? 'new'} → ${tensor.to}`,
    outcome(tensor),
  ]);
  await write(io, table(['tensor', 'shape', 'type', 'read back'], rows));
  for (const note of notes) say(io, note);
  if (config !== undefined) say(io, `reading this file needs the tiles that it is laid out by: --config ${config}`);
  const matrices = tensors.filter(({ scale }) => scale !== undefined).length;
  say(io, `${output}: ${bytes(size)}; ${matrices} ternary matrices as ${weights}, each equal to the input bit for bit`);
}

function outcome({ equal, greatestError, scale }: TensorReport): string {
  if (scale !== undefined) return `equal, scale ${scale.toPrecision(6)}`;
  return equal ? 'equal' : `within ${greatestError.toPrecision(3)}`;
}
