import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { probeMachine, WASM } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import type { Target } from '../../targets/target.ts';
import { YOWASP, yowaspVersion } from './yowasp.ts';

const run = promisify(execFile);

/** A C++ compiler that builds for a target. */
export interface Compiler {
  /** As CXX spells it: a program, and what always goes before its arguments (`ccache g++`). */
  readonly command: string;
  /** First line of its --version, for the manifest and the cache's key. */
  readonly version: string;
  /** Building for another architecture than this machine's. */
  readonly cross: boolean;
  /** Of one that builds for WebAssembly: whether it knows relaxed SIMD. */
  readonly relaxed?: boolean;
}

async function firstLine(command: string, option: string): Promise<string | undefined> {
  try {
    const [program, ...args] = command.trim().split(/\s+/);
    const { stdout } = await run(program, [...args, ...option.split(' ')]);
    return stdout.split('\n', 1)[0];
  } catch {
    return undefined;
  }
}

const versionOf = (command: string): Promise<string | undefined> => firstLine(command, '--version');

/** Compilers to try on the machine's own architecture: the user's choice alone, or the usual ones. */
function nativeCompilers(): string[] {
  return process.env.CXX ? [process.env.CXX] : ['g++', 'clang++', 'c++'];
}

/**
 * Finds a compiler for a target; CXX names the one to use for this machine's own architecture.
 * Throws a BitnetError that says what to install where there is none.
 */
export async function findCompiler(target: Target): Promise<Compiler> {
  if (target.arch === WASM) return findWasmCompiler();
  const cross = target.arch !== 'any' && target.arch !== probeMachine().arch;
  const candidates = cross ? (target.cross?.compilers ?? []) : nativeCompilers();
  for (const command of candidates) {
    const version = await versionOf(command);
    if (version !== undefined) return { command, version, cross };
  }
  const where = cross ? ` that builds for ${target.arch}` : '';
  throw new BitnetError(`no C++ compiler${where} was found (tried ${candidates.join(', ') || 'none'})`, {
    hint: cross && target.cross ? target.cross.install : 'apt-get install g++ cmake, or set CXX to a compiler',
  });
}

/** Versions of clang++ that programs build with, under the names that systems give them. */
const OLDEST_CLANG = 14;
const CLANGS = ['clang++', ...Array.from({ length: 12 }, (_, i) => `clang++-${25 - i}`)];
/** The first that has relaxed SIMD as the standard has it. */
const RELAXED_CLANG = 17;

/**
 * Finds clang with its lld: the latest, or `@yowasp/clang`, which is slower, where that is the only one with relaxed SIMD.
 * BITNET_WASM_CXX names the one to use.
 */
async function findWasmCompiler(): Promise<Compiler> {
  const asked = process.env.BITNET_WASM_CXX;
  const candidates = asked === undefined ? CLANGS : [asked];
  const clangs = (await Promise.all(candidates.map(wasmClang))).filter((found) => found !== undefined);
  const best = clangs.sort((a, b) => b.major - a.major)[0];
  const system = best && {
    command: best.command,
    version: best.version,
    cross: true,
    relaxed: best.major >= RELAXED_CLANG,
  };
  if (system?.relaxed) return system;
  const version = asked === undefined || asked === YOWASP ? await yowaspVersion() : undefined;
  if (version !== undefined) return { command: YOWASP, version, cross: true, relaxed: true };
  if (system) return system;
  throw new BitnetError(
    `no compiler for WebAssembly was found (tried ${asked ?? `clang++ ${OLDEST_CLANG} and later with lld, and ${YOWASP}`})`,
    { hint: `apt-get install clang-19 lld-19, or npm install ${YOWASP}` },
  );
}

/** A clang++ that can link for WebAssembly, too. */
async function wasmClang(command: string): Promise<{ command: string; version: string; major: number } | undefined> {
  const version = await versionOf(command);
  const major = Number(/clang version (\d+)/.exec(version ?? '')?.[1] ?? 0);
  if (version === undefined || major < OLDEST_CLANG) return undefined;
  const linker = await firstLine(command, '--target=wasm32 -print-prog-name=wasm-ld');
  return linker && (await versionOf(linker)) ? { command, version, major } : undefined;
}
