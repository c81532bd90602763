import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { probeMachine } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import type { Target } from '../../targets/target.ts';

const run = promisify(execFile);

/** A C++ compiler that builds for a target. */
export interface Compiler {
  /** As CXX spells it: a program, and what always goes before its arguments (`ccache g++`). */
  readonly command: string;
  /** First line of its --version, for the manifest and the cache's key. */
  readonly version: string;
  /** Building for another architecture than this machine's. */
  readonly cross: boolean;
}

async function versionOf(command: string): Promise<string | undefined> {
  try {
    const [program, ...args] = command.trim().split(/\s+/);
    const { stdout } = await run(program, [...args, '--version']);
    return stdout.split('\n', 1)[0];
  } catch {
    return undefined;
  }
}

/** Compilers to try on the machine's own architecture: the user's choice alone, or the usual ones. */
function nativeCompilers(): string[] {
  return process.env.CXX ? [process.env.CXX] : ['g++', 'clang++', 'c++'];
}

/**
 * Finds a compiler for a target; CXX names the one to use for this machine's own architecture.
 * Throws a BitnetError that says what to install where there is none.
 */
export async function findCompiler(target: Target): Promise<Compiler> {
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
