import { readFile } from 'node:fs/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { I2S_LAYOUTS, type I2sLayout, type ImportOptions } from '../compiler/import/options.ts';
import type { LowerOptions } from '../compiler/index.ts';
import type { FloatEncodingName } from '../compiler/ir/model.ts';
import { BitnetError } from '../errors.ts';
import { type LoadOptions, load, type Model } from '../index.ts';
import type { Io } from './io.ts';
import { Progress } from './progress.ts';

/** A number, of any size: what it may be is the library's to say. */
export function parseNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

export function parseInteger(text: string): number {
  const value = parseNumber(text);
  if (!Number.isSafeInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

/** A whole number of at least one. */
export function parseCount(text: string): number {
  const value = parseInteger(text);
  if (value < 1) throw new InvalidArgumentError('It must be 1 or more.');
  return value;
}

/** A number above zero. */
export function parsePositive(text: string): number {
  const value = parseNumber(text);
  if (value <= 0) throw new InvalidArgumentError('It must be more than 0.');
  return value;
}

/** Numbers of GPUs with commas between them. */
export const parseDevices = (text: string): number[] => text.split(',').map(parseInteger);

/** Token ids with commas or white space between them. */
export function parseTokens(text: string): number[] {
  const tokens = text.split(/[\s,]+/).filter(Boolean);
  if (tokens.length === 0 || !tokens.every((token) => /^\d{1,9}$/.test(token))) {
    throw new InvalidArgumentError('It must be token ids with commas, as 1,2,3.');
  }
  return tokens.map(Number);
}

/** A file of token ids. */
export async function readTokens(file: string): Promise<number[]> {
  const text = await readFile(file, 'utf8').catch((cause) => {
    throw new BitnetError(`cannot read ${file}: ${cause.message}`, { cause });
  });
  try {
    return parseTokens(text);
  } catch (cause) {
    throw new BitnetError(`${file} is no list of token ids`, { hint: 'it must hold ids with commas, as 1,2,3', cause });
  }
}

export const outOption = (what = 'artifacts'): Option =>
  new Option('--out <dir>', `folder that ${what} are put in (default: generated)`);

/** What a model file does not say of itself, as the command line says it. */
export interface ImportFlags {
  readonly config?: string;
  readonly i2sLayout?: I2sLayout;
  readonly force?: boolean;
}

/** The options of every command that reads a model file. Where `--config` is for more than that, say so. */
export function addImportOptions(
  command: Command,
  config = 'kernel .ini by which TL1 or TL2 weights are laid out',
): Command {
  return command
    .option('--config <file>', config)
    .addOption(new Option('--i2s-layout <order>', 'order of I2_S weights').choices(Object.keys(I2S_LAYOUTS)))
    .option('--force', 'take weights that are not near ternary for masters of ternary ones, too');
}

/** Those options as the library takes them. */
export async function importOptions({ config: file, i2sLayout, force }: ImportFlags) {
  const config = file === undefined ? undefined : await (await import('../compiler/index.ts')).readKernelConfig(file);
  return { config, i2sLayout, force } satisfies ImportOptions;
}

function parseScreen(text: string): 0 | 4 | 5 {
  const bits = parseInteger(text);
  if (bits !== 0 && bits !== 4 && bits !== 5) throw new InvalidArgumentError('It must be 0, 4 or 5.');
  return bits;
}

/** How a model file is to be read and compiled, as the command line says it. */
export interface LowerFlags extends ImportFlags {
  readonly kernel?: 'i2' | 'tl1' | 'tl2' | 'auto';
  readonly head?: FloatEncodingName;
  /** A tuned file; false: none, not even the one of an earlier tuning. */
  readonly tuned?: string | false;
  /** As numbers say, it is compiled; not false, it is run. */
  readonly screen?: 0 | 4 | 5 | boolean;
  /** False where `--no-skip-zeros` was given, and true where it was not. */
  readonly skipZeros?: boolean;
}

/** The options of every command that compiles a model file or shows what would become of it. */
export function addLowerOptions(command: Command): Command {
  const kernel = new Option(
    '--kernel <name>',
    'i2 multiplies, tl1 and tl2 look sums up; auto: i2, or what --config is for',
  );
  const head = new Option('--head <encoding>', 'store the head in this encoding (default: as the model file has it)');
  const screen = new Option(
    '--screen <bits>',
    'bits of a coarse copy of the head, by which most of it need not be read: 4, 5, or 0 for none (default: 5 for large heads)',
  ).argParser(parseScreen);
  return addImportOptions(
    command
      .addOption(kernel.choices(['auto', 'i2', 'tl1', 'tl2']))
      .addOption(head.choices(['f32', 'f16', 'bf16', 'q8_0', 'q6_k', 'q4_0']))
      .addOption(screen)
      .option('--tuned <file>', 'kernels and layouts as bitnet tune found them (default: what it left on this machine)')
      .option('--no-tuned', 'kernels and layouts by rule, whatever bitnet tune found')
      .option('--no-skip-zeros', 'read all of every matrix, even what meets a zero of a relu2 model'),
    "kernel .ini of bitnet.cpp or T-MAC: the kernels' tiles, and those of TL1 and TL2 weights",
  );
}

/** Those options as the compiler takes them. */
export async function lowerOptions(flags: LowerFlags) {
  const { kernel, head, tuned } = flags;
  const screen = typeof flags.screen === 'number' ? flags.screen : undefined;
  const named = typeof tuned === 'string' ? [await (await import('../compiler/index.ts')).readTuned(tuned)] : tuned;
  const skipZeros = flags.skipZeros === false ? false : undefined;
  return { ...(await importOptions(flags)), kernel, head, screen, tuned: named, skipZeros } satisfies LowerOptions;
}

/** What of a model's command line `openModel` takes. */
export interface ModelOptions extends LowerFlags {
  readonly target?: string;
  readonly device?: number;
  readonly devices?: readonly number[];
  readonly threads?: number;
  readonly pin?: boolean;
  readonly kv?: 'f16' | 'f32';
  readonly ctx?: number;
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** The options of every command that runs a model. Where `--threads` goes by another flag, or `--out` means another thing, say so. */
export function addModelOptions(
  command: Command,
  { threads = '--threads <count>', out = true }: { readonly threads?: string; readonly out?: boolean } = {},
): Command {
  command
    .option('--target <id>', 'run this target (default: the best for this machine)')
    .option('--device <number>', 'GPU that target cuda runs on (default: 0)', parseInteger)
    .option('--devices <numbers>', 'GPUs with commas that share the model, as 0,1', parseDevices)
    .option(threads, 'threads that compute (default: the physical cores)', parseCount)
    .option('--pin', 'keep each of them on a core of its own')
    .addOption(new Option('--kv <type>', 'how keys and values are cached').choices(['f16', 'f32']).default('f16'));
  if (out) command.addOption(outOption('artifacts of model files'));
  return addLowerOptions(command).option('--quiet', 'no progress');
}

/** Those options as `load` takes them. */
export async function loadOptions(options: ModelOptions) {
  const { target, device, devices, threads, pin, kv, ctx, out } = options;
  return {
    ...(await lowerOptions(options)),
    target,
    device,
    devices,
    threads,
    pin,
    kv,
    contextLength: ctx,
    out,
  } satisfies LoadOptions;
}

/** Loads a model as the command line says, with progress. The caller disposes of it. */
export async function openModel(
  io: Io,
  path: string | undefined,
  options: ModelOptions,
  more: Pick<LoadOptions, 'sequences' | 'contextLength'> = {},
): Promise<Model> {
  const progress = new Progress(io, options.json || options.quiet);
  try {
    return await load(path, {
      ...(await loadOptions(options)),
      onProgress: progress.onProgress,
      signal: io.signal,
      ...more,
    });
  } finally {
    progress.end();
  }
}
