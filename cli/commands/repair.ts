import { type Command, Option } from 'commander';
import { I2S_LAYOUTS, type I2sLayout } from '../../compiler/import/options.ts';
import { printable } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { Progress } from '../progress.ts';

interface RepairFlags {
  readonly config?: string;
  readonly i2sLayout?: I2sLayout;
  readonly force?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const NOTES = `
What can be repaired is an alignment that is wrong or not kept, and keys that are missing but follow from the shapes of
the tensors, as embedding_length or block_count. No weight changes. What cannot be known is not guessed: the file is
then refused. Where nothing is wrong, nothing is written.

Examples:
  bitnet repair broken.gguf mended.gguf`;

export function repairCommand(program: Command, io: Io): void {
  program
    .command('repair')
    .description('write a GGUF file anew with what can be repaired')
    .argument('<in>', 'GGUF file')
    .argument('<out>', 'the new file; replaced when it is complete and checked')
    .option('--config <file>', 'kernel .ini by which its TL1 or TL2 weights are laid out')
    .addOption(new Option('--i2s-layout <order>', 'order of its I2_S weights').choices(Object.keys(I2S_LAYOUTS)))
    .option('--force', 'take weights that are not near ternary for masters of ternary ones, too')
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', NOTES)
    .action(async (input: string, output: string, { config, json, quiet, ...options }: RepairFlags) => {
      const { repair } = await import('../../compiler/index.ts');
      const { readKernelConfig } = await import('../../compiler/kernels/config.ts');
      const { resolveModel } = await import('../../compiler/hub/resolve.ts');
      const progress = new Progress(io, json || quiet);
      const report = await repair(await resolveModel(input), output, {
        ...options,
        config: config === undefined ? undefined : await readKernelConfig(config),
        onProgress: ({ message, fraction }) => progress.update(message, fraction),
        signal: io.signal,
      }).finally(() => progress.end());
      if (json) return writeJson(io, report);
      for (const done of report.repairs) await write(io, `${printable(done)}\n`);
      say(io, report.output ?? `${input}: there is nothing to repair, and nothing was written`);
    });
}
