import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../../compiler/build/fingerprint.ts';
import { packageRoot } from '../../package-root.ts';
import { type Bed, type Outcome, runOn } from './beds.ts';

/** Where tests keep what takes long to build, keyed by its sources. */
const CACHE = join(packageRoot(), 'build', 'tests');

function nativeRunner(): string {
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  if (!existsSync(runner)) throw new Error(`${runner} is missing: npm run install`);
  return runner;
}

function runnerSources(): string[] {
  const native = join(packageRoot(), 'runtime', 'native');
  const engine = readdirSync(join(native, 'engine')).map((file) => join(native, 'engine', file));
  const others = [join(native, 'runner.cpp'), join(native, 'CMakeLists.txt'), join(packageRoot(), 'artifact', 'abi.h')];
  return [...engine.sort(), ...others];
}

function crossRunner({ target, compiler }: Bed): string {
  const key = sha256(compiler.version, ...runnerSources().map((file) => readFileSync(file, 'utf8')));
  const runner = join(CACHE, `runner-${target.arch}-${key.slice(0, 16)}`);
  if (existsSync(runner)) return runner;
  mkdirSync(CACHE, { recursive: true });
  const build = mkdtempSync(join(CACHE, 'runner-build-'));
  try {
    const cmake = (...args: string[]) => execFileSync('cmake', args, { stdio: 'pipe' });
    const system = ['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${target.arch}`];
    const source = join(packageRoot(), 'runtime', 'native');
    cmake(
      '-S',
      source,
      '-B',
      build,
      '-DCMAKE_BUILD_TYPE=Release',
      `-DCMAKE_CXX_COMPILER=${compiler.command}`,
      ...system,
    );
    cmake('--build', build, '--target', 'runner', '--parallel', String(availableParallelism()));
    renameSync(join(build, 'runner'), runner);
  } finally {
    rmSync(build, { recursive: true, force: true });
  }
  return runner;
}

const runners = new Map<string, string>();

/** The runner of runtime/native for a bed: the one that `npm run install` built, or one for the other architecture. */
export function runnerFor(bed: Bed): string {
  const known = runners.get(bed.target.arch);
  if (known) return known;
  const runner = bed.compiler.cross ? crossRunner(bed) : nativeRunner();
  runners.set(bed.target.arch, runner);
  return runner;
}

/** Runs the bed's runner. */
export function runner(bed: Bed, ...args: string[]): Promise<Outcome> {
  return runOn(bed, runnerFor(bed), args);
}
