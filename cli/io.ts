import { addAbortSignal, type Readable, type Writable } from 'node:stream';

type Terminal = { readonly isTTY?: boolean };

/** What a command talks to: the process's own streams, or a test's. */
export interface Io {
  readonly stdin: Readable & Terminal;
  /** Results. */
  readonly stdout: Writable & Terminal;
  /** Everything else: progress, statistics, errors. */
  readonly stderr: Writable & Terminal & { readonly columns?: number };
  /** Aborted by Ctrl-C, with an Interrupted. */
  readonly signal: AbortSignal;
}

/** Why something ended that a person pressed Ctrl-C at. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

/** Writes a result, and waits until it is out: nothing is lost when the process ends, and a slow reader is not overrun. */
export function write({ stdout }: Io, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes a line for people. That nobody listens any more is no reason to fail. */
export function say({ stderr }: Io, line: string): void {
  if (stderr.writable) stderr.write(`${line}\n`);
}

/** Writes a value as JSON: laid out for reading too, or `compact`, on one line. */
export const writeJson = (io: Io, value: unknown, layout?: 'compact'): Promise<void> =>
  write(io, `${JSON.stringify(value, null, layout === 'compact' ? 0 : 2)}\n`);

/** All of stdin as text. */
export async function readStdin({ stdin, signal }: Io): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of addAbortSignal(signal, stdin)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
