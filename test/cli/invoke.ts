import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { runCli } from '../../cli/program.ts';
import { packageRoot } from '../../package-root.ts';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Surroundings {
  /** Lines on standard input. */
  readonly input?: string;
  /** Standard input is a terminal that nobody types at. */
  readonly terminal?: boolean;
  readonly signal?: AbortSignal;
  /** Called with what is written to stdout. An error that it returns is the stream's. */
  readonly onOutput?: (text: string) => NodeJS.ErrnoException | undefined;
}

class Sink extends Writable {
  text = '';
  readonly #onOutput: Surroundings['onOutput'];

  constructor(onOutput?: Surroundings['onOutput']) {
    super();
    this.#onOutput = onOutput;
    this.on('error', () => {});
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.text += chunk.toString();
    done(this.#onOutput?.(chunk.toString()));
  }
}

/** Runs a command line in this process. */
export async function invoke(argv: readonly string[], surroundings: Surroundings = {}): Promise<Outcome> {
  const { input, terminal = false, signal = new AbortController().signal, onOutput } = surroundings;
  const stdout = new Sink(onOutput);
  const stderr = new Sink();
  const stdin = Object.assign(Readable.from(input === undefined ? [] : [input]), { isTTY: terminal });
  const code = await runCli(argv, { stdin, stdout, stderr, signal });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** Starts the command in a process of its own. */
export function start(argv: readonly string[]) {
  const main = join(packageRoot(), 'cli', 'main.ts');
  const child = spawn(process.execPath, ['--import', 'tsx', main, ...argv], { cwd: packageRoot() });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<{ code: number | null; stderr: string }>((resolve) => {
    child.on('close', (code) => resolve({ code, stderr }));
  });
  return { child, ended };
}

export const fixture = (name: string): string => join(packageRoot(), 'test', 'fixtures', name);
