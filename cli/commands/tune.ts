import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { BATCH_CLASSES, batchTitle, tileText, tunePage, whereText } from '../../bench/report/tune-page.ts';
import type { Tuned, TuningProgress } from '../../compiler/index.ts';
import { BitnetError } from '../../errors.ts';
import { defaultModel, tune } from '../../index.ts';
import { cuda } from '../../targets/index.ts';
import { number, printable, table } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import {
  addImportOptions,
  type ImportFlags,
  importOptions,
  parseCount,
  parseInteger,
  parsePositive,
} from '../options.ts';
import { Progress } from '../progress.ts';

interface TuneFlags extends ImportFlags {
  readonly target?: string;
  readonly threads?: number;
  readonly device?: number;
  readonly minutes: number;
  readonly out?: string;
  readonly artifacts?: string;
  readonly emitIni?: string;
  readonly report?: string;
  readonly fresh?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const NOTES = `
For each shape of ternary matrix, for one token and for a prompt of 128, it times tiles of every kernel on this machine,
each checked bit for bit before, and drops what is clearly slower. The layout of a matrix is the one in which a prompt of
128 tokens and 128 new ones take the least time. With --target cuda it times thread blocks' shapes on the GPU, for steps of one
token, of 16, of 64 and of 2048. At last whole models take turns, and where the default is the faster one,
the tuned file says so.

Compiling the model on this machine uses the tuned file from then on, unless it is told --no-tuned. A tuned file of another
CPU or GPU, compiler, driver, version, target or number of threads is stale, and never used. When time runs out or you interrupt it, what
was measured is kept, and the next tuning of the model goes on there; --fresh begins anew.

Examples:
  bitnet tune model.gguf
  bitnet tune model.gguf --minutes 30 --threads 4 --report report.html
  bitnet tune model.gguf --target cuda --device 0 --minutes 4
  bitnet tune model.gguf --out tuned.json && bitnet compile model.gguf --tuned tuned.json`;

export function tuneCommand(program: Command, io: Io): void {
  const command = program
    .command('tune')
    .description('find the fastest kernels and weight layouts for a model on this machine')
    .argument('[model]', 'model file (default: the embedded storyteller)')
    .option('--target <id>', 'tune for this target (default: the best for this machine)')
    .option('-t, --threads <count>', 'threads that it will run on (default: the physical cores)', parseCount)
    .option('--device <number>', 'GPU that target cuda is tuned on (default: 0)', parseInteger)
    .option('--minutes <count>', 'time that it may take, about', parsePositive, 10)
    .option('--out <file>', 'the tuned file (default: where compiling looks for it)')
    .option('--emit-ini <file>', "write the best tiles of tl1 or tl2 as bitnet.cpp's kernel_config.ini has them")
    .option('--report <file>', 'write a page with charts, too')
    .option('--artifacts <dir>', 'folder that whole models are compiled into (default: generated)')
    .option('--fresh', 'throw away what an earlier tuning measured')
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress');
  addImportOptions(command)
    .addHelpText('after', NOTES)
    .action((model: string | undefined, flags: TuneFlags) => run(io, model ?? defaultModel(), flags));
}

async function run(io: Io, model: string, flags: TuneFlags): Promise<void> {
  const { target, threads, device, minutes, out, artifacts, emitIni, report, fresh, json, quiet } = flags;
  if (emitIni !== undefined && target === cuda.id) {
    throw new BitnetError(`a kernel .ini has tiles of table look-ups, and target ${cuda.id} has none`, {
      hint: 'leave out --emit-ini: bitnet compile --tuned takes what --out writes',
    });
  }
  const display = new Display(io, Boolean(json || quiet));
  const { tuned, file } = await tune(model, {
    ...(await importOptions(flags)),
    target,
    threads,
    device,
    minutes,
    file: out,
    out: artifacts,
    fresh,
    signal: io.signal,
    onProgress: display.onProgress,
  }).finally(() => display.end());
  if (emitIni !== undefined) {
    const { tunedSections, writeKernelConfig } = await import('../../compiler/index.ts');
    await writeKernelConfig(emitIni, tunedSections(tuned));
  }
  if (report !== undefined) {
    await writeFile(report, tunePage(tuned)).catch((cause) => {
      throw new BitnetError(`cannot write ${report}: ${cause.message}`, { cause });
    });
    say(io, `wrote ${report}`);
  }
  await (json ? writeJson(io, { file, ...tuned }) : write(io, printTuned(tuned, file)));
}

/** On a terminal a line that says what is tried, the best so far and the time left; elsewhere lines for what takes a while. */
class Display {
  readonly #io: Io;
  readonly #quiet: boolean;
  readonly #progress: Progress;

  constructor(io: Io, quiet: boolean) {
    this.#io = io;
    this.#quiet = quiet;
    this.#progress = new Progress(io, quiet);
  }

  readonly onProgress = ({ stage, message, best, fraction, secondsLeft }: TuningProgress): void => {
    if (stage === 'notice') {
      this.#progress.end();
      say(this.#io, `notice: ${message}`);
    } else if (this.#io.stderr.isTTY) {
      const left = `${Math.floor(secondsLeft / 60)}:${String(secondsLeft % 60).padStart(2, '0')} left`;
      this.#progress.update(`${left}, ${message}${best === undefined ? '' : `; best: ${best}`}`, fraction);
    } else this.#progress.update(TITLES[stage] ?? message, fraction);
  };

  end(): void {
    if (!this.#quiet) this.#progress.end();
  }
}

/** Where messages change too quickly for lines. */
const TITLES: Partial<Record<TuningProgress['stage'], string>> = {
  check: 'checking kernels',
  kernels: 'timing kernels',
  model: 'timing whole models',
};

/** What a tuning found, for people. */
export function printTuned(tuned: Tuned, file: string): string {
  const { model, target, shapes, trials, choice, settings, complete } = tuned;
  const rows = shapes.flatMap(({ m, k, uses, layout, layouts }) => {
    const { kernels } = layouts.find((one) => one.layout === layout)!;
    return BATCH_CLASSES.flatMap((takes) => {
      const kernel = kernels[takes];
      if (!kernel) return [];
      return [[uses.join(', '), `${m} × ${k}`, batchTitle(tuned, takes), layout, tileText(kernel.tile), kernel.reason]];
    });
  });
  const whole = trials.map(({ name, prefill, perToken, perStep, seconds }) => [
    name,
    number(128 / prefill.median),
    number(1 / perToken.median),
    ...(perStep ? [number(64 / perStep.median)] : []),
    `${number(seconds.median)} s`,
  ]);
  const batches = trials.some(({ perStep }) => perStep) ? ['64 sequences, tokens/s'] : [];
  const kept = Object.entries(settings).map(([name, value]) => `${name} = ${value}`);
  return [
    `${printable(model)} on ${target}, ${whereText(tuned)}\n`,
    rows.length === 0
      ? 'no kernel was timed in the time that there was'
      : table(['matrix', 'm × k', 'for', 'layout', 'tile', 'why'], rows),
    whole.length === 0
      ? ''
      : table(['whole model', 'prefill tokens/s', 'decode tokens/s', ...batches, '128 + 128 tokens'], whole),
    `${choice === 'tuned' ? 'tuned kernels' : 'the default kernels'} will be compiled${kept.length > 0 ? `, with ${kept.join(', ')}` : ''}` +
      `${complete ? '' : '; time ran out before all was measured: tune again to go on'}\n`,
    `${file}\n`,
  ].join('\n');
}
