import type { Command } from 'commander';
import { type Io, write, writeJson } from '../io.ts';
import { addModelOptions, type ModelOptions, openModel, parseCount, readTokens } from '../options.ts';
import { Progress } from '../progress.ts';

interface PerplexityFlags extends ModelOptions {
  readonly tokensFile: string;
  readonly window: number;
}

const NOTES = `
The tokens are cut into windows; each begins with an empty cache, and all but its first token are predicted.

Examples:
  bitnet perplexity models/storyteller-25m-i2_s.gguf --tokens-file models/eval_tokens.txt
  bitnet perplexity model.gguf --tokens-file ids.txt --window 512 --json`;

export function perplexityCommand(program: Command, io: Io): void {
  const command = program
    .command('perplexity')
    .description('say how well a model predicts a text')
    .argument('<model>', 'artifact folder or model file')
    .requiredOption('--tokens-file <file>', 'token ids with commas or white space between them')
    .option('--window <tokens>', 'tokens of a window', parseCount, 256)
    .option('--json', 'print the result as JSON');
  addModelOptions(command).addHelpText('after', NOTES);
  command.action(async (path: string, flags: PerplexityFlags) => {
    const { tokensFile, window, json, quiet } = flags;
    const ids = await readTokens(tokensFile);
    const model = await openModel(io, path, flags, { sequences: 1 });
    const progress = new Progress(io, json || quiet);
    try {
      const { nll, perplexity, tokens } = await model.perplexity(ids, {
        window,
        onProgress: (done, total) => progress.update(`predicting ${total} tokens`, done / total),
        signal: io.signal,
      });
      progress.end();
      if (json) {
        await writeJson(io, { nll, perplexity, tokens, window, model: model.info.name, target: model.target });
      } else {
        await write(io, `${nll.toFixed(4)} nats a token, perplexity ${perplexity.toFixed(3)}, ${tokens} tokens\n`);
      }
    } finally {
      progress.end();
      await model.dispose();
    }
  });
}
