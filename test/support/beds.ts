import { execFile, execFileSync } from 'node:child_process';
import { probeMachine } from '../../artifact/machine.ts';
import { type Compiler, findCompiler } from '../../compiler/build/toolchain.ts';
import { BitnetError } from '../../errors.ts';
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

/** Every target of the registry: those that can be built and run here, and the others with the reason. */
export async function testBeds(): Promise<{ beds: readonly Bed[]; absent: readonly Absent[] }> {
  const beds: Bed[] = [];
  const absent: Absent[] = [];
  for (const target of targets) {
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
