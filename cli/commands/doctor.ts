import { freemem, totalmem } from 'node:os';
import type { Command } from 'commander';
import { probeMachine, WASM } from '../../artifact/machine.ts';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { BitnetError } from '../../errors.ts';
import { loadAddon } from '../../runtime/src/addon.ts';
import { targets } from '../../targets/index.ts';
import { bytes, colours, table } from '../format.ts';
import { type Io, write, writeJson } from '../io.ts';
import { versionOf } from '../toolchains.ts';
import { listTargets } from './targets.ts';

/** Something that is needed, or good to have. */
interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What is there, or what that costs. */
  readonly detail: string;
  /** Without it nothing is compiled and run for this machine. */
  readonly needed: boolean;
  /** The command that brings it. */
  readonly fix: string | null;
}

const EXAMPLES = `
Exit code 1 only if models cannot be compiled and run for this machine.

Examples:
  bitnet doctor
  bitnet doctor --json`;

const MIN_NODE = 20;
/** The oldest compilers with the C++20 that the programs are written in. */
const COMPILERS = [
  { command: 'g++', oldest: 12 },
  { command: 'clang++', oldest: 14 },
];

const INSTALL: Record<string, string> =
  process.platform === 'darwin'
    ? { 'g++': 'brew install gcc', 'clang++': 'xcode-select --install', cmake: 'brew install cmake' }
    : { 'g++': 'apt-get install g++', 'clang++': 'apt-get install clang', cmake: 'apt-get install cmake' };

export function doctorCommand(program: Command, io: Io): void {
  program
    .command('doctor')
    .description('say what this machine has, what is missing, and how to install it')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { readonly json?: boolean }) => {
      const report = await examine();
      await (json ? writeJson(io, report) : write(io, print(report, io)));
      if (!report.ok) throw new BitnetError('models cannot be compiled and run on this machine yet');
    });
}

async function examine() {
  const { cpu, arch, features } = probeMachine();
  const addon = checkAddon();
  const listed = await listTargets();
  const checks = [
    checkNode(),
    addon.check,
    ...(await checkCompilers()),
    await checkTool('cmake', 'builds the programs of models', true),
    ...(await checkCross()),
    ...listed.flatMap(checkGpu),
    await checkWasm(),
  ];
  const used = new Set(targets.flatMap((target) => target.features));
  return {
    ok: checks.every((check) => check.ok || !check.needed),
    machine: {
      cpu,
      arch,
      features: [...used].filter((feature) => features.has(feature)),
      cores: addon.cores,
      memoryBytes: totalmem(),
      freeBytes: freemem(),
    },
    checks,
    targets: listed.map(({ id, runs, native, compiler }) => ({ id, runs, native, builds: compiler !== null })),
  };
}

function checkNode(): Check {
  const ok = Number(process.versions.node.split('.', 1)[0]) >= MIN_NODE;
  return {
    name: 'node',
    ok,
    detail: process.version,
    needed: true,
    fix: ok ? null : `install Node ${MIN_NODE} or newer`,
  };
}

function checkAddon(): { check: Check; cores: number | null } {
  const name = 'engine';
  try {
    const cores = loadAddon().usableCores();
    return { check: { name, ok: true, detail: 'built, and loads', needed: true, fix: null }, cores };
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return { check: { name, ok: false, detail: error.message, needed: true, fix: 'npm run install' }, cores: null };
  }
}

/** One C++ compiler is enough: each is needed only where no other is there. */
async function checkCompilers(): Promise<Check[]> {
  const chosen = process.env.CXX;
  if (chosen) return [await checkTool(chosen, 'the compiler that CXX names', true)];
  const found = await Promise.all(
    COMPILERS.map(async ({ command, oldest }) => {
      const version = await versionOf(command);
      const major = Number(/\b(\d+)\.\d+/.exec(version ?? '')?.[1] ?? 0);
      return { command, oldest, version, ok: major >= oldest };
    }),
  );
  const any = found.some(({ ok }) => ok);
  return found.map(({ command, oldest, version, ok }) => ({
    name: command,
    ok,
    detail: version === undefined ? 'not found' : ok ? version : `${version}: older than ${oldest}`,
    needed: !any,
    fix: ok ? null : INSTALL[command],
  }));
}

async function checkTool(
  command: string,
  purpose: string,
  needed: boolean,
  install = INSTALL[command],
): Promise<Check> {
  const version = await versionOf(command);
  const ok = version !== undefined;
  return { name: command, ok, detail: version ?? `not found: ${purpose}`, needed, fix: ok ? null : (install ?? null) };
}

/** What builds and runs the targets of other architectures. */
async function checkCross(): Promise<Check[]> {
  const { arch } = probeMachine();
  const foreign = targets.filter((target) => target.cross && target.arch !== arch);
  const checks = foreign.map(async ({ id, cross }) => [
    await checkTool(cross!.compilers[0], `builds ${id}`, false, cross!.install),
    await checkTool(cross!.emulator[0], `runs ${id}`, false, cross!.install),
  ]);
  return (await Promise.all(checks)).flat();
}

/** GPUs are good to have, and bring a driver of their own. */
function checkGpu(target: Awaited<ReturnType<typeof listTargets>>[number]): Check[] {
  if ('adapter' in target) {
    const ok = target.adapter !== null;
    return [{ name: 'WebGPU', ok, detail: target.adapter ?? target.obstacle!, needed: false, fix: null }];
  }
  if (!('gpus' in target)) return [];
  const detail = target.obstacle ?? target.gpus.map(({ name }) => name).join(', ');
  return [{ name: 'GPU', ok: target.gpus.length > 0, detail, needed: false, fix: null }];
}

/** What builds programs in WebAssembly. */
async function checkWasm(): Promise<Check> {
  const target = targets.find(({ arch }) => arch === WASM)!;
  const check = { name: target.id, needed: false };
  try {
    const { command, version, relaxed } = await findCompiler(target);
    const note = relaxed ? '' : ', which has no relaxed SIMD: clang 17 and later have it';
    return { ...check, ok: true, detail: `built by ${command}: ${version}${note}`, fix: null };
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return { ...check, ok: false, detail: error.message, fix: error.hint ?? null };
  }
}

function print({ machine, checks, targets: listed }: Awaited<ReturnType<typeof examine>>, io: Io): string {
  const { green, red, yellow } = colours(io.stdout);
  const mark = ({ ok, needed }: Check) => (ok ? green('ok') : needed ? red('missing') : yellow('absent'));
  const facts = [
    ['CPU', machine.cpu],
    ['architecture', machine.arch],
    ['features', machine.features.join(' ') || 'none that a target uses'],
    ['cores', machine.cores === null ? 'unknown' : String(machine.cores)],
    ['memory', `${bytes(machine.memoryBytes)}, ${bytes(machine.freeBytes)} free`],
  ];
  const found = checks.map((check) => [check.name, mark(check), check.detail, check.fix ?? '']);
  const yes = (value: boolean) => (value ? 'yes' : 'no');
  const rows = listed.map(({ id, runs, builds, native }) => [native ? `${id} *` : id, yes(runs), yes(builds)]);
  return [
    table(['machine', ''], facts),
    table(['tool', '', '', 'to install'], found),
    `${table(['target', 'runs here', 'builds here'], rows)}\n* what native stands for on this machine\n`,
  ].join('\n');
}
