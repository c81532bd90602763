import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { probeMachine, WASM } from '../../artifact/machine.ts';
import { type Compiler, findCompiler } from '../../compiler/build/toolchain.ts';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';
import { canRun, type Target, targets } from '../../targets/index.ts';

/** A target whose programs can be built and run here. */
export interface Bed {
  readonly target: Target;
  readonly compiler: Compiler;
  /** What goes before the command line of its programs: nothing, or an emulator. */
  readonly emulator: readonly string[];
}

/** A target that cannot be tried here, and why. */
export interface Absent {
  readonly target: Target;
  readonly reason: string;
}

const machine = probeMachine();

function emulatorOf(target: Target): readonly string[] | string {
  if (canRun(target, machine)) return [];
  if (target.arch === machine.arch) {
    const lacking = target.features.filter((feature) => !machine.features.has(feature));
    return `this CPU lacks ${lacking.join(', ')}`;
  }
  const emulator = target.cross?.emulator;
  if (!emulator) return `this machine is ${machine.arch}, and there is no emulator for ${target.arch}`;
  try {
    execFileSync(emulator[0], ['--version'], { stdio: 'ignore' });
    return emulator;
  } catch {
    return `${emulator[0]} is not installed: ${target.cross?.install}`;
  }
}

/** The only targets to try beside `ref`, separated by commas, where somebody is at work on them. */
const asked = process.env.BITNET_TEST_TARGETS?.split(',');

/** Every target of the registry: those that can be built and run here, and the others with the reason. */
export async function testBeds(): Promise<{ beds: readonly Bed[]; absent: readonly Absent[] }> {
  const beds: Bed[] = [];
  const absent: Absent[] = [];
  for (const target of targets) {
    if (asked && target.arch !== 'any' && !asked.includes(target.id)) {
      absent.push({ target, reason: `BITNET_TEST_TARGETS asks for ${asked}` });
      continue;
    }
    const emulator = emulatorOf(target);
    if (typeof emulator === 'string') {
      absent.push({ target, reason: emulator });
      continue;
    }
    try {
      beds.push({ target, compiler: await findCompiler(target), emulator });
    } catch (error) {
      if (!(error instanceof BitnetError)) throw error;
      absent.push({ target, reason: error.message });
    }
  }
  return { beds, absent };
}

/** A bed for programs of their own, which read standard input and write standard output. */
export interface ProgramBed extends Bed {
  /** Names it among others. */
  readonly label: string;
  /** What they are built with, beside the target's flags. */
  readonly flags: readonly string[];
}

/**
 * The beds that such programs can be built for, and the others. In WebAssembly they are for WASI, and there are two of them:
 * with relaxed SIMD and without.
 */
export function programBeds(beds: readonly Bed[]): { programs: readonly ProgramBed[]; absent: readonly Absent[] } {
  const programs: ProgramBed[] = [];
  const absent: Absent[] = [];
  for (const bed of beds) {
    const { id, arch } = bed.target;
    if (arch !== WASM) {
      programs.push({ ...bed, label: id, flags: bed.compiler.cross ? ['-pthread', '-static'] : ['-pthread'] });
    } else if (!hasWasi(bed)) {
      const reason = `${bed.compiler.command} has no C++ library for WASI: apt-get install ${WASI_PACKAGES}`;
      absent.push({ target: bed.target, reason });
    } else {
      const emulator = [process.execPath, '--no-warnings', join(packageRoot(), 'test', 'support', 'wasi.mjs')];
      programs.push({ ...bed, emulator, label: id, flags: WASI });
      programs.push({ ...bed, emulator, label: `${id}, relaxed`, flags: [...WASI, '-mrelaxed-simd'] });
    }
  }
  return { programs, absent };
}

const WASI = ['--target=wasm32-wasi', '-fno-exceptions'];
const WASI_PACKAGES = 'wasi-libc libc++-19-dev-wasm32 libclang-rt-19-dev-wasm32';

function hasWasi({ compiler }: Bed): boolean {
  if (!compiler.relaxed) return false;
  const input = '#include <random>\n#include <vector>\n';
  const args = [...WASI, '-x', 'c++', '-fsyntax-only', '-'];
  return spawnSync(compiler.command, args, { input, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0;
}

/** Counts a test as skipped, and says why. */
export function skip(suite: { skip(name: string): void }, title: string, reason: string): void {
  suite.skip(title);
  console.log(`skipped: ${title}: ${reason}`);
}

export interface Outcome {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs a program of a bed, through the emulator where one is needed. Never rejects: the outcome says how it ended. */
export function runOn(bed: Bed, program: string, args: readonly string[], input?: Uint8Array): Promise<Outcome> {
  const [command, ...rest] = [...bed.emulator, program, ...args];
  return new Promise((resolve) => {
    const child = execFile(
      command,
      rest,
      { encoding: 'buffer', maxBuffer: 1 << 30, timeout: 120_000 },
      (error, stdout, stderr) => {
        const code = error ? (typeof error.code === 'number' ? error.code : null) : 0;
        resolve({ code, stdout, stderr: stderr.toString() });
      },
    );
    // A program that fails before it has read everything closes the pipe: its exit code says so.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
