import type { Command } from 'commander';
import { probeMachine } from '../../artifact/machine.ts';
import { COMPILER_VERSION } from '../../compiler/version.ts';
import type { BenchmarkResult } from '../../index.ts';
import { number, percent, table } from '../format.ts';
import { type Io, write, writeJson } from '../io.ts';
import { addModelOptions, type ModelOptions, openModel, parseCount } from '../options.ts';
import { Progress } from '../progress.ts';

interface BenchFlags extends ModelOptions {
  readonly shape?: string;
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly repetitions: number;
}

const NOTES = `
One short round warms up; the rates are medians of the runs that follow. With the same threads the machine itself is
measured: the bandwidth of reading memory, and int8 multiply-accumulates a second. Decode is compared with the first,
by the weights that a token reads; prefill with the second, by the multiply-accumulates of the ternary matrices alone.
A shape is a random model of a published one's sizes, made once and kept in the user's cache with its artifact.

Examples:
  bitnet bench -t 2
  bitnet bench --shape 2b4t -p 128 -n 32 -t 2 -r 3 --json`;

export function benchCommand(program: Command, io: Io): void {
  const command = program
    .command('bench')
    .description('measure the speed of a model, and what share of the machine that is')
    .argument('[model]', 'artifact folder or model file (default: the embedded storyteller)')
    .option('--shape <name>', 'instead of a model, a random one of this shape: 2b4t, large, 3b, 8b, falcon3-1b, …')
    .option('-p, --prompt-tokens <count>', 'tokens to prefill', parseCount, 128)
    .option('-n, --new-tokens <count>', 'tokens to decode', parseCount, 32)
    .option('-r, --repetitions <count>', 'runs', parseCount, 3)
    .option('--json', 'print the result as JSON');
  addModelOptions(command, { threads: '-t, --threads <count>' }).addHelpText('after', NOTES);
  command.action(async (path: string | undefined, flags: BenchFlags) => {
    const { shape, promptTokens, newTokens, repetitions, json, quiet } = flags;
    if (shape !== undefined && path !== undefined) command.error('error: give a model or a --shape, not both');
    const progress = new Progress(io, json || quiet);
    try {
      const subject = shape === undefined ? { path } : await shapeSubject(shape, progress, io.signal);
      progress.end();
      const room = { sequences: 1, contextLength: promptTokens + newTokens };
      const model = await openModel(io, subject.path, { ...subject, ...flags }, room);
      try {
        const result = await model.benchmark({
          promptTokens,
          newTokens,
          repetitions,
          onProgress: (done, total) => progress.update('measuring', done / total),
          signal: io.signal,
        });
        progress.end();
        const report = describe(shape ?? model.info.name, result);
        await (json ? writeJson(io, report) : write(io, print(report)));
      } finally {
        await model.dispose();
      }
    } finally {
      progress.end();
    }
  });
}

/** The random model of a shape. Its artifact is as large as it is: both stay in the cache. */
async function shapeSubject(shape: string, progress: Progress, signal: AbortSignal) {
  const { shapeModel } = await import('../../bench/shapes/index.ts');
  const { cacheFolder } = await import('../../compiler/build/cache-folder.ts');
  const path = await shapeModel(shape, (done, total) => {
    signal.throwIfAborted();
    progress.update(`making a random model of shape ${shape}`, done / total);
  });
  return { path, out: cacheFolder('shapes', 'generated') };
}

/** The result, with the slowest and fastest of its runs. */
function describe(model: string, result: BenchmarkResult) {
  const spread = ({ tokens, seconds }: { readonly tokens: number; readonly seconds: readonly number[] }) => ({
    min: tokens / Math.max(...seconds),
    max: tokens / Math.min(...seconds),
  });
  return {
    model,
    cpu: probeMachine().cpu,
    version: COMPILER_VERSION,
    ...result,
    prefill: { ...result.prefill, ...spread(result.prefill) },
    decode: { ...result.decode, ...spread(result.decode) },
  };
}

function print({ model, cpu, target, threads, prefill, decode, machine }: ReturnType<typeof describe>): string {
  const row = (name: string, { tokens, tokensPerSecond, min, max }: typeof prefill | typeof decode, share: string) => [
    name,
    String(tokens),
    number(tokensPerSecond),
    `${number(min)} to ${number(max)}`,
    share,
  ];
  const rows = [
    row('prefill', prefill, `${percent(prefill.fractionOfPeak)} of ${number(machine.int8GMACps)} G int8 MAC/s`),
    row('decode', decode, `${percent(decode.fractionOfBandwidth)} of ${number(machine.readGBps)} GB/s`),
  ];
  const heading = `${model} on ${target}, ${threads} threads, ${cpu}\n\n`;
  return heading + table(['', 'tokens', 'tokens/s', 'runs', 'of the machine'], rows);
}
