import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CompileResult, LowerOptions } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { defaultThreads } from '../../runtime/src/addon.ts';
import { bytes } from '../format.ts';
import { type Io, say, write, writeJson } from '../io.ts';
import { addLowerOptions, type LowerFlags, lowerOptions, outOption, parseCount } from '../options.ts';
import { Progress } from '../progress.ts';

const STAGES = ['ir', 'plan', 'sources'] as const;
type Stage = (typeof STAGES)[number];

interface CompileFlags extends LowerFlags {
  readonly emitIni?: string;
  readonly web?: string;
  readonly target: string;
  readonly threads?: number;
  readonly arch?: string;
  readonly gpus?: number;
  readonly out?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly dump?: readonly Stage[];
}

const EXAMPLES = `
Examples:
  bitnet compile model.gguf                        for this machine, into ./generated
  bitnet compile model.gguf --target all --json    for every target that can be built here
  bitnet compile model.gguf --dump=plan            show a stage, build nothing
  bitnet compile model.gguf --target webgpu,wasm-simd128,webgl --web site   with a page, for any static server
  bitnet compile model.gguf --head q6_k            with a head of fewer bytes
  bitnet compile model.gguf --kernel tl2 --emit-ini tiles.ini
  bitnet compile model.gguf --config tiles.ini     with the tiles of that file, once it has been edited`;

function parseStages(text: string): Stage[] {
  const stages = text.split(',');
  const unknown = stages.find((stage) => !(STAGES as readonly string[]).includes(stage));
  if (unknown !== undefined) throw new InvalidArgumentError(`Stages are ${STAGES.join(', ')}.`);
  return stages as Stage[];
}

export function compileCommand(program: Command, io: Io): void {
  const command = program
    .command('compile')
    .description('compile a model file into an artifact: packed weights, and a program for each target')
    .argument('[model]', 'model file (default: the embedded storyteller)')
    .option('--target <ids>', 'native, all, or target ids with commas', 'native')
    .option('--threads <count>', 'that it will run on, as it was tuned (default: the physical cores)', parseCount);
  addLowerOptions(command)
    .option('--arch <list>', "GPU architectures of target cuda, as sm_90 (default: this machine's, or all)")
    .option('--gpus <count>', 'GPUs that share the model, for target cuda (default: 1)', parseCount)
    .option('--emit-ini <file>', "write the tiles of tl1 or tl2 as bitnet.cpp's kernel_config.ini has them")
    .option('--web <dir>', 'write a page that runs it in browsers, and what of it they read, into a folder')
    .addOption(outOption())
    .addOption(
      new Option('--dump <stages>', 'print stages, and build nothing: ir, plan, sources, with commas').argParser(
        parseStages,
      ),
    )
    .option('--json', 'print the result as JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', EXAMPLES)
    .action(async (model: string | undefined, flags: CompileFlags) => {
      const file = model ?? defaultModel();
      const options = { ...(await lowerOptions(flags)), threads: flags.threads ?? defaultThreads() };
      if (flags.emitIni !== undefined) await emitIni(flags.emitIni, file, flags.target, options);
      await (flags.dump ? dump(io, file, flags.dump, flags, options) : build(io, file, flags, options));
    });
}

/** Before anything is built: whoever asks for tiles where there are none should not wait for that. */
async function emitIni(ini: string, file: string, target: string, options: LowerOptions): Promise<void> {
  const { lowerModel, parseAnyTargets, writeKernelConfig } = await import('../../compiler/index.ts');
  const targets = parseAnyTargets(target);
  const { sections } = await lowerModel(file, targets[0], options, targets);
  await writeKernelConfig(ini, sections);
}

async function build(io: Io, file: string, flags: CompileFlags, options: LowerOptions): Promise<void> {
  const { target, arch, gpus, out, web, json, quiet } = flags;
  const { compile, shareable } = await import('../../compiler/index.ts');
  const progress = new Progress(io, json || quiet);
  const all: CompileResult[] = [];
  try {
    for (const together of shareable(target)) {
      const { onProgress } = progress;
      all.push(await compile(file, { ...options, target: together, arch, gpus, out, onProgress, signal: io.signal }));
    }
  } finally {
    progress.end();
  }
  const artifacts = all.map(({ artifact }) => artifact);
  if (web !== undefined) await (await import('../../web.ts')).writeWebFolder(artifacts, web);
  if (json) {
    const found = all.map(({ artifact, manifest, kernels, cached, tuned, notices, skipped }) => {
      return { artifact, kernels, targets: Object.keys(manifest.targets), cached, tuned, notices, skipped };
    });
    return writeJson(io, found.length === 1 ? found[0] : found);
  }
  for (const result of all) tell(io, result);
  if (web !== undefined) say(io, `a page for browsers: ${web}; any static server gives it`);
  return write(io, artifacts.map((artifact) => `${artifact}\n`).join(''));
}

function tell(io: Io, { manifest, cached, tuned, notices, skipped }: CompileResult): void {
  for (const { target: id, file: from } of tuned) say(io, `${id} as tuned: ${from}`);
  for (const notice of notices) say(io, `notice: ${notice}`);
  for (const { target: id, reason } of skipped) say(io, `skipped ${id}: ${reason}`);
  const weights = Object.values(manifest.weights).reduce((sum, entry) => sum + entry.bytes, 0);
  const state = cached ? 'up to date' : 'compiled';
  const targets = Object.keys(manifest.targets).join(', ');
  say(io, `${state}: ${manifest.model.name} for ${targets}; ${bytes(weights)} of weights`);
}

/** Prints stages: `ir` and `plan` as JSON, `sources` as text under the names of the files, or all in one JSON value. */
async function dump(
  io: Io,
  file: string,
  stages: readonly Stage[],
  { target, gpus, json }: CompileFlags,
  options: LowerOptions,
): Promise<void> {
  const { lowerModel, parseAnyTargets } = await import('../../compiler/index.ts');
  const targets = parseAnyTargets(target);
  const lowered = await Promise.all(targets.map((one) => lowerModel(file, one, { ...options, gpus }, targets)));
  const [{ ir, plan }] = lowered;
  const sources = targets.flatMap(({ id }, index) =>
    lowered[index].sources.map((source) => ({ ...source, file: `${id}/${source.file}` })),
  );
  const all = { ir, plan, sources };
  if (json) return writeJson(io, Object.fromEntries(stages.map((stage) => [stage, all[stage]])));
  const values = stages.filter((stage) => stage !== 'sources');
  if (values.length === 1) await writeJson(io, all[values[0]]);
  else if (values.length > 1) await writeJson(io, Object.fromEntries(values.map((stage) => [stage, all[stage]])));
  if (!stages.includes('sources')) return;
  for (const { file: name, text } of sources) await write(io, `// ===== ${name}\n${text}\n`);
}
