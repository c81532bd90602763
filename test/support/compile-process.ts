import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../package-root.ts';

export interface CompileOutcome {
  readonly artifact?: string;
  readonly cached?: boolean;
  readonly error?: string;
  readonly hint?: string;
}

/** Starts a compilation in a process group of its own, as a user's shell would. */
export function startCompile(
  model: string,
  out: string,
  target: string,
  environment: Readonly<Record<string, string>> = {},
): { child: ChildProcess; outcome: Promise<CompileOutcome> } {
  const script = join(packageRoot(), 'test', 'support', 'compile-once.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', script, model, out, target], {
    cwd: packageRoot(),
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const outcome = new Promise<CompileOutcome>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', () => {
      if (stdout) resolve(JSON.parse(stdout));
      else reject(new Error(stderr || 'the compilation was killed'));
    });
  });
  return { child, outcome };
}

/** Compiles in a process of its own. Rejects where it ends without a result. */
export function compileInProcess(...args: Parameters<typeof startCompile>): Promise<CompileOutcome> {
  return startCompile(...args).outcome;
}
