import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { threadEntry } from '../../thread-entry.ts';
import type { SourceIR } from '../import/source.ts';
import { type Answer, type Request, unpackError } from './message.ts';
import { runTask, type TaskInput, type TaskName, type TaskOutput } from './tasks.ts';
import { Workbench } from './workbench.ts';

/** Each has room for a matrix: more would take memory rather than save time. */
const MOST_THREADS = 8;
/** What is over in a moment is not worth starting a thread for. */
const WORTH_BYTES = 32 << 20;

interface Thread {
  readonly worker: Worker;
  /** Tasks that it has not answered. */
  readonly waiting: Map<number, { resolve(output: unknown): void; reject(error: unknown): void }>;
}

/** How many threads work of so many bytes should have; 0 where it is done as quickly without. */
export const threadsFor = (bytes: number): number =>
  bytes < WORTH_BYTES ? 0 : Math.min(availableParallelism(), MOST_THREADS);

/**
 * Threads that do tasks on the data of one model. With none of them the tasks are done by the caller's own.
 * To dispose of the pool ends them, whatever they are at.
 */
export class Pool implements AsyncDisposable {
  readonly #ir: SourceIR;
  readonly #threads: readonly Thread[];
  #own: Promise<Workbench> | undefined;
  #ids = 0;

  constructor({ source, tensors }: SourceIR, threads: number) {
    this.#ir = { source, tensors };
    this.#threads = Array.from({ length: threads }, () => startThread(this.#ir));
  }

  /** Tasks that may be begun before the first is taken: none waits for another thread, and memory stays small. */
  get depth(): number {
    return this.#threads.length === 0 ? 1 : this.#threads.length + 1;
  }

  /** What the task gives. Throws what it throws, and an Error where its thread has ended. */
  async run<N extends TaskName>(task: N, input: TaskInput<N>): Promise<TaskOutput<N>> {
    if (this.#threads.length === 0) {
      this.#own ??= Workbench.open(this.#ir);
      return await runTask(await this.#own, task, input);
    }
    const { worker, waiting } = this.#threads.toSorted((a, b) => a.waiting.size - b.waiting.size)[0];
    const id = this.#ids++;
    return await new Promise<TaskOutput<N>>((resolve, reject) => {
      waiting.set(id, { resolve: resolve as (output: unknown) => void, reject });
      worker.postMessage({ id, task, input } satisfies Request<N>);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
    // Whether it could be opened was the first task's to say.
    await this.#own?.then(
      (bench) => bench[Symbol.asyncDispose](),
      () => {},
    );
  }
}

function startThread(ir: SourceIR): Thread {
  const waiting: Thread['waiting'] = new Map();
  // The process's own options, such as --input-type, need not suit a thread.
  const worker = new Worker(threadEntry(import.meta.url, './thread'), { eval: true, workerData: ir, execArgv: [] });
  const fail = (error: unknown) => {
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
  };
  worker.on('message', (answer: Answer) => {
    const asked = waiting.get(answer.id)!;
    waiting.delete(answer.id);
    if ('output' in answer) asked.resolve(answer.output);
    else asked.reject(unpackError(answer.failure));
  });
  worker.on('error', fail);
  worker.on('exit', () => fail(new Error('a thread of the compiler has ended')));
  return { worker, waiting };
}
