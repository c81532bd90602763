import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import type { Target } from '../../targets/target.ts';
import type { Compiler } from './toolchain.ts';

/** Lines of a failed build worth showing: the errors, or the end of it. */
function excerpt(log: string): string {
  const lines = log.trimEnd().split('\n');
  const errors = lines.filter((line) => /\berror\b/i.test(line));
  return (errors.length > 0 ? errors.slice(0, 5) : lines.slice(-8)).join('\n');
}

function cmake(args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('cmake', args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
    let log = '';
    child.stdout.on('data', (chunk) => {
      log += chunk;
    });
    child.stderr.on('data', (chunk) => {
      log += chunk;
    });
    child.on('error', (cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'ENOENT') reject(cause);
      else reject(new BitnetError('cmake was not found', { hint: 'apt-get install cmake', cause }));
    });
    child.on('close', (code, killedBy) => {
      if (code === 0) resolve();
      else reject(new BitnetError(`cmake ${args[0]} failed (${killedBy ?? `exit code ${code}`})\n${excerpt(log)}`));
    });
  });
}

/**
 * Builds the sources in `folder` into `folder/model.so`, by way of `folder/build`.
 * Throws a BitnetError with the compiler's errors.
 */
export async function buildLibrary(
  folder: string,
  target: Target,
  compiler: Compiler,
  signal?: AbortSignal,
): Promise<void> {
  const build = join(folder, 'build');
  const cross = compiler.cross ? ['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${target.arch}`] : [];
  await cmake(
    [
      '-S',
      folder,
      '-B',
      build,
      '-DCMAKE_BUILD_TYPE=Release',
      `-DCMAKE_CXX_COMPILER=${compiler.command}`,
      `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${folder}`,
      ...cross,
    ],
    signal,
  );
  await cmake(['--build', build, '--parallel', String(availableParallelism())], signal);
}
