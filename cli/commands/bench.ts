import { writeFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import { intervalText } from '../../bench/report/bars.ts';
import { benchPage, describeRun, firstTokenText, restOf, shareText } from '../../bench/report/bench-page.ts';
import { type Comparison, compareReports } from '../../bench/report/compare.ts';
import { type BenchReport, readReport, rowName } from '../../bench/report/result.ts';
import { BitnetError } from '../../errors.ts';
import { defaultModel } from '../../index.ts';
import { bytes, number, percent, printable, table } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { addModelOptions, lowerOptions, type ModelOptions, parseCount, parseInteger } from '../options.ts';
import { Progress } from '../progress.ts';

interface BenchFlags extends ModelOptions {
  readonly shape?: string;
  readonly promptTokens: readonly number[];
  readonly newTokens: number;
  readonly contexts: readonly number[];
  readonly sequences: readonly number[];
  readonly repetitions: number;
  readonly compare?: true;
  readonly report?: string;
}

const NOTES = `
Figures are medians of the runs, which take turns, with the interval of the median from order statistics: 95% or more
with six runs, and less, as it says, with fewer. With the same threads the machine itself is measured beside the runs:
the bandwidth of reading memory, and int8 multiply-accumulates a second. Each share is of the one that holds the machine
back: bytes of weights, keys and values to read, or multiply-accumulates of the ternary matrices.
A shape is a random model of a published one's sizes, made once and kept in the user's cache with its artifact.
--compare divides the second of two results of --json by the first, and says which differences are clear of the noise:
those whose intervals do not meet.

Examples:
  bitnet bench -t 2
  bitnet bench --shape 2b4t -p 128,512 -n 128 --contexts 0,1024 --sequences 1,4 -t 2 --report report.html
  bitnet bench model.gguf --json > after.json
  bitnet bench --compare before.json after.json`;

export function benchCommand(program: Command, io: Io): void {
  const command = program
    .command('bench')
    .description('measure the speed of a model, and what share of the machine that is')
    .argument('[model]', 'artifact folder or model file (default: the embedded storyteller)')
    .argument('[result]', 'with --compare: the second of two results')
    .option('--shape <name>', 'instead of a model, a random one of this shape: 2b4t, large, 3b, 8b, falcon3-1b, …')
    .option('-p, --prompt-tokens <counts>', 'tokens to prefill', list(parseCount), [128])
    .option('-n, --new-tokens <count>', 'tokens to decode', parseCount, 128)
    .option('--contexts <counts>', 'tokens that are there before either begins', list(parseContext), [0])
    .option('--sequences <counts>', 'sequences that decode at once', list(parseCount), [1])
    .option('-r, --repetitions <count>', 'runs', parseCount, 6)
    .option('--no-screen', 'read the whole head for every token')
    .option('--compare', 'measure nothing, compare two results of --json')
    .option('--report <file>', 'write a page with charts, too')
    .option('--json', 'print the result as JSON');
  addModelOptions(command, { threads: '-t, --threads <count>' }).addHelpText('after', NOTES);
  command.action(async (first: string | undefined, second: string | undefined, flags: BenchFlags) => {
    const { shape, compare, report, json } = flags;
    if (compare) {
      if (second === undefined || first === undefined) command.error('error: --compare takes two results');
      const [a, b] = [await readReport(first!), await readReport(second!)];
      const comparison = compareReports(a, b);
      await writePage(io, report, () => benchPage(a, b));
      await (json ? writeJson(io, comparison) : write(io, printComparison(a, b, comparison)));
      return;
    }
    if (second !== undefined) command.error('error: two models; --compare takes two results');
    if (shape !== undefined && first !== undefined) command.error('error: give a model or a --shape, not both');
    const result = await measure(io, first, flags);
    await writePage(io, report, () => benchPage(result));
    await (json ? writeJson(io, result) : write(io, print(result)));
  });
}

/** Counts with commas between them. */
function list(parse: (text: string) => number): (text: string) => number[] {
  return (text) => text.split(',').map(parse);
}

function parseContext(text: string): number {
  const value = parseInteger(text);
  if (value < 0) throw new InvalidArgumentError('It must be 0 or more.');
  return value;
}

async function measure(io: Io, path: string | undefined, flags: BenchFlags): Promise<BenchReport> {
  const { measureModel, shapeSubject } = await import('../../bench/model/measure.ts');
  const { shape, out, json, quiet } = flags;
  const progress = new Progress(io, json || quiet);
  const onProgress = (message: string, fraction?: number) => progress.update(message, fraction);
  const more = { onProgress, signal: io.signal };
  try {
    const subject = shape === undefined ? { path: path ?? defaultModel(), out } : await shapeSubject(shape, more);
    const result = await measureModel(subject.path, {
      ...flags,
      ...(await lowerOptions(flags)),
      screened: flags.screen !== false,
      ...more,
      out: out ?? subject.out,
    });
    return shape === undefined ? result : { ...result, model: shape };
  } finally {
    progress.end();
  }
}

async function writePage(io: Io, file: string | undefined, make: () => string): Promise<void> {
  if (file === undefined) return;
  await writeFile(file, make()).catch((cause) => {
    throw new BitnetError(`cannot write ${file}: ${cause.message}`, { cause });
  });
  say(io, `wrote ${file}`);
}

function print(result: BenchReport): string {
  const { rows, machine, openMs } = result;
  const speeds = rows.map((row) => [
    rowName(row),
    number(row.tokensPerSecond.median),
    intervalText(row.tokensPerSecond),
    shareText(row),
    firstTokenText(row),
    row.kind === 'decode' ? bytes(row.bytes / row.tokens) : '',
  ]);
  return (
    `${printable(result.model)} on ${describeRun(result)}\n\n` +
    table(['', 'tokens/s', 'interval', 'of the machine', 'first token, again', 'read a step'], speeds) +
    `\nmachine: reading ${number(machine.readGBps.median)} GB/s, ${number(machine.int8GMACps.median)} G int8 MAC/s\n` +
    `opened in ${number(openMs.median)} ms; ${memoryText(result)}\n`
  );
}

function memoryText({ gpu, memory: use }: BenchReport): string {
  const [weights, kv, before] = [bytes(use.weights), bytes(use.kv), `the process before ${bytes(use.before)}`];
  if (gpu !== undefined) {
    const there = `on the GPU: weights ${weights}, KV cache ${kv}, workspace ${bytes(use.workspace)}`;
    return `${there}; resident ${bytes(use.resident)}, ${before}`;
  }
  return `resident ${bytes(use.resident)}: weights ${weights}, KV cache ${kv}, the rest ${bytes(restOf(use))}, ${before}`;
}

function printComparison(a: BenchReport, b: BenchReport, { rows, machine, onlyA, onlyB }: Comparison): string {
  const ratio = (value: number) => `${number(value)}×`;
  const lines = rows.map(({ name, a: one, b: other, speed, share, verdict }) => [
    name,
    number(one.tokensPerSecond.median),
    number(other.tokensPerSecond.median),
    ratio(speed.median),
    intervalText(speed),
    `${percent(one.share.median)} → ${percent(other.share.median)}, ${ratio(share.median)}`,
    verdict,
  ]);
  const lone = [...onlyA.map((name) => `${name} (first)`), ...onlyB.map((name) => `${name} (second)`)];
  return (
    `first   ${printable(a.model)} on ${printable(describeRun(a))}\n` +
    `second  ${printable(b.model)} on ${printable(describeRun(b))}\n\n` +
    table(['tokens/s', 'first', 'second', 'speed', 'interval', 'share of the machine', ''], lines) +
    `\nmachine: reading ${ratio(machine.readGBps.median)}, int8 ${ratio(machine.int8GMACps.median)}\n` +
    (lone.length > 0 ? `in one of them only: ${lone.join(', ')}\n` : '')
  );
}
