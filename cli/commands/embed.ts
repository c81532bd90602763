import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { BitnetError } from '../../errors.ts';
import type { Pooling } from '../../index.ts';
import { type Io, readStdin, write, writeJson } from '../io.ts';
import { addModelOptions, type ModelOptions, openModel, parseCount } from '../options.ts';
import { Progress } from '../progress.ts';

interface EmbedFlags extends ModelOptions {
  readonly file?: string;
  readonly pooling?: Pooling;
  readonly normalize: boolean;
  readonly truncate?: boolean;
}

const NOTES = `
Prints one vector a line, in the order of the texts: those given as arguments, then the lines of the file. A model that
was trained to embed says how its hidden states are pooled; of any other it is the last token's. Microsoft's converter
writes mean where it finds no setting, also for BitNet's own models, whose guide says last: then give --pooling last.

Examples:
  bitnet embed bitnet-embedding-0.6b.gguf "what a tree is" "a plant with a trunk"
  bitnet embed model.gguf --file lines.txt --json > vectors.json
  sort -u words.txt | bitnet embed model.gguf --file -`;

export function embedCommand(program: Command, io: Io): void {
  const command = program
    .command('embed')
    .description('turn texts into vectors')
    .argument('<model>', 'artifact folder or model file')
    .argument('[texts...]', 'texts to embed')
    .option('--file <file>', 'embed each line of a file, or of standard input where it is -')
    .addOption(
      new Option('--pooling <kind>', "how hidden states become one vector (default: the model's own)").choices([
        'last',
        'mean',
        'cls',
      ]),
    )
    .option('--no-normalize', 'leave vectors as long as they are')
    .option('--truncate', 'embed the beginning of a text that is too long')
    .option('--ctx <tokens>', "tokens that a text may have (default: the model's context, up to 4096)", parseCount)
    .option('--json', 'print the vectors as JSON');
  addModelOptions(command).addHelpText('after', NOTES);
  command.action(async (path: string, given: readonly string[], flags: EmbedFlags) => {
    const { file, pooling, normalize, truncate, json, quiet } = flags;
    const texts = [...given, ...(file === undefined ? [] : await readLines(io, file))];
    if (texts.length === 0) command.error('error: give a text, or a --file with one on each line');
    const model = await openModel(io, path, flags, { sequences: 1 });
    const progress = new Progress(io, json || quiet);
    try {
      const vectors = await model.embed(texts, {
        normalize,
        ...(pooling && { pooling }),
        ...(truncate && { truncate }),
        onProgress: (done, total) => progress.update(`embedding ${total} texts`, done / total),
        signal: io.signal,
      });
      progress.end();
      const rows = vectors.map((vector) => Array.from(vector, shortest));
      if (json) {
        const how = { pooling: pooling ?? model.pooling, normalize, model: model.info.name, target: model.target };
        await writeJson(io, { ...how, dimensions: model.info.embedding, vectors: rows }, 'compact');
      } else {
        for (const row of rows) await write(io, `${row.join(' ')}\n`);
      }
    } finally {
      progress.end();
      await model.dispose();
    }
  });
}

/** The number with the fewest digits that every float32 is told apart by. */
const shortest = (value: number): number => Number(value.toPrecision(9));

/** The lines of a file; a line break at its end begins no further one. */
async function readLines(io: Io, file: string): Promise<string[]> {
  const text =
    file === '-'
      ? await readStdin(io)
      : await readFile(file, 'utf8').catch((cause) => {
          throw new BitnetError(`cannot read ${file}: ${cause.message}`, { cause });
        });
  const lines = text.split(/\r?\n/);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}
