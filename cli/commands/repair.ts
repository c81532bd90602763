import type { Command } from 'commander';
import { printable } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { addImportOptions, type ImportFlags, importOptions } from '../options.ts';
import { Progress } from '../progress.ts';

interface RepairFlags extends ImportFlags {
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
  const command = program
    .command('repair')
    .description('write a GGUF file anew with what can be repaired')
    .argument('<in>', 'GGUF file')
    .argument('<out>', 'the new file; replaced when it is complete and checked');
  addImportOptions(command)
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', NOTES)
    .action(async (input: string, output: string, flags: RepairFlags) => {
      const { json, quiet } = flags;
      const { repair } = await import('../../compiler/index.ts');
      const { resolveModel } = await import('../../compiler/hub/resolve.ts');
      const progress = new Progress(io, json || quiet);
      const report = await repair(await resolveModel(input), output, {
        ...(await importOptions(flags)),
        onProgress: ({ message, fraction }) => progress.update(message, fraction),
        signal: io.signal,
      }).finally(() => progress.end());
      if (json) return writeJson(io, report);
      for (const done of report.repairs) await write(io, `${printable(done)}\n`);
      say(io, report.output ?? `${input}: there is nothing to repair, and nothing was written`);
    });
}
