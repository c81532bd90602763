import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';

/** One answer of the runner. */
export interface Timing {
  readonly nanoseconds: number;
  /** Multiply-accumulates, of the arithmetic probe. */
  readonly macs?: number;
}

/** A `runner bench` process: kernels of one library, timed in native code on one thread. */
export class BenchSession {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;

  constructor(runner: string, library: string) {
    this.#child = spawn(runner, ['bench', library], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout! });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** `rounds` calls of a kernel, each on weights that are in no cache. */
  kernel(name: string, tokens: number, rounds: number): Promise<Timing> {
    return this.#ask(`kernel ${name} ${tokens} ${rounds}`);
  }

  /** What one thread does at best: bytes read and int8 multiply-accumulates, a second. */
  async limits(): Promise<{ read: number; dot: number }> {
    const bytes = 256 << 20;
    let [read, dot] = [0, 0];
    for (let i = 0; i < 5; i++) {
      read = Math.max(read, (bytes * 1e9) / (await this.#ask(`read ${bytes}`)).nanoseconds);
      const { nanoseconds, macs = 0 } = await this.#ask('dot 20000');
      dot = Math.max(dot, (macs * 1e9) / nanoseconds);
    }
    return { read, dot };
  }

  close(): void {
    this.#lines.close();
    this.#child.stdin!.end();
  }

  async #ask(line: string): Promise<Timing> {
    this.#child.stdin!.write(`${line}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`the runner ended at: ${line}`);
    return JSON.parse(value);
  }
}
