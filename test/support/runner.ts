import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { WASM } from '../../artifact/machine.ts';
import { findRunner } from '../../emulate.ts';
import { packageRoot } from '../../package-root.ts';
import { type Bed, type Outcome, runOn } from './beds.ts';
import { runWasm } from './wasm-runner.ts';

function nativeRunner(): string {
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  if (!existsSync(runner)) throw new Error(`${runner} is missing: npm run install`);
  return runner;
}

/** The runner of runtime/native for a bed: the one that `npm run install` built, or one for the other architecture. */
export async function runnerFor({ target, compiler }: Bed): Promise<string> {
  return compiler.cross ? findRunner(target) : nativeRunner();
}

/** Runs the bed's runner. */
export async function runner(bed: Bed, ...args: string[]): Promise<Outcome> {
  if (bed.target.arch === WASM) return runWasm(args);
  return runOn(bed, await runnerFor(bed), args);
}
