import { spawn } from 'node:child_process';
import { BitnetError } from '../../errors.ts';

export interface ToolRun {
  /** What fails, as an error calls it. */
  readonly name: string;
  /** What to do where there is no such program. */
  readonly install: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
}

/** Lines of a failed build worth showing: the errors, or the end of it. */
export function excerpt(log: string): string {
  const lines = log.trimEnd().split('\n');
  const errors = lines.filter((line) => /\berror\b/i.test(line));
  return (errors.length > 0 ? errors.slice(0, 5) : lines.slice(-8)).join('\n');
}

/** Runs a program that builds something. Throws a BitnetError with its errors where it fails, or where it is not there. */
export function runTool(command: string, args: readonly string[], options: ToolRun): Promise<void> {
  const { name, install, cwd, env, signal } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd, env, signal });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        log += chunk;
      });
    }
    child.on('error', (cause: NodeJS.ErrnoException) => {
      // What was killed, and what it has started, still writes until it is closed.
      if (signal?.aborted) return;
      if (cause.code !== 'ENOENT') reject(cause);
      else reject(new BitnetError(`${command} was not found`, { hint: install, cause }));
    });
    child.on('close', (code, killedBy) => {
      if (code === 0) resolve();
      else if (signal?.aborted) reject(signal.reason);
      else reject(new BitnetError(`${name} failed (${killedBy ?? `exit code ${code}`})\n${excerpt(log)}`));
    });
  });
}
