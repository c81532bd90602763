import type { Arena, Library } from './library.ts';

/** What the threads of a model do together: the numbers are those of the control block. */
const TASK = { end: 0, meet: 1, step: 2, read: 3, dot: 4 } as const;

/** The control block, in int32: which round of work this is, who has not finished it, what to do, and with what. */
const ROUND = 0;
const RUNNING = 16;
const COMMAND = 32;
const ARGUMENTS = 33;
const CONTROL_BYTES = 192;
/** Behind it a float64 for each thread. */
const RESULT_BYTES = 8;

/** How long threads look for work before they sleep: longer than choosing a token takes. Milliseconds. */
const SPIN_MS = 0.2;
/** And how long the first one waits for the others at a time, once that has taken longer than it should. */
const NAP_MS = 0.05;

/** What a thread needs to join. */
export interface TeamPlace {
  readonly control: number;
  readonly stack: number;
  readonly thread: number;
}

/** The threads that compute steps, seen from the first of them, which computes as well. */
export class Team {
  readonly threads: number;
  readonly #library: Library;
  readonly #control: number;
  readonly #words: Int32Array;

  constructor(library: Library, arena: Arena, threads: number) {
    this.threads = threads;
    this.#library = library;
    this.#control = arena.take(CONTROL_BYTES + RESULT_BYTES * threads, 'its threads');
    library.useStack(library.stackIn(arena));
    this.#words = controlOf(library, this.#control);
  }

  /** Places for the other threads; each calls `work` with its own. */
  places(arena: Arena): TeamPlace[] {
    return Array.from({ length: this.threads - 1 }, (_, i) => ({
      control: this.#control,
      stack: this.#library.stackIn(arena),
      thread: i + 1,
    }));
  }

  /** Returns when all threads are there. */
  meet(): void {
    this.#run(TASK.meet);
  }

  /** One step on all threads; `args` is the address of a bn_step_args. */
  step(args: number): void {
    this.#run(TASK.step, args);
  }

  /** Reads `bytes` bytes from `data` on, each thread its share. */
  read(data: number, bytes: number): void {
    this.#run(TASK.read, data, bytes);
  }

  /** Rounds of dot products on each thread; how many multiply-accumulates that was. */
  dot(rounds: number, sinks: number): number {
    this.#run(TASK.dot, rounds, sinks);
    return resultsOf(this.#library, this.#control, this.threads).reduce((sum, one) => sum + one, 0);
  }

  /** Lets the other threads go. */
  end(): void {
    this.#announce(TASK.end);
  }

  #run(command: number, ...args: readonly number[]): void {
    this.#announce(command, ...args);
    perform(this.#library, this.#control, 0);
    // The threads of a step end together, so this is short, unless somebody else has one of their cores.
    const words = this.#words;
    let until = 0;
    for (let spins = 1; Atomics.load(words, RUNNING) > 0; spins++) {
      if (spins % 1024 !== 0) continue;
      const now = performance.now();
      if (until === 0) until = now + SPIN_MS;
      else if (now > until) Atomics.wait(words, RUNNING, Atomics.load(words, RUNNING) || -1, NAP_MS);
    }
  }

  #announce(command: number, ...args: readonly number[]): void {
    const words = this.#words;
    words[COMMAND] = command;
    args.forEach((value, i) => {
      words[ARGUMENTS + i] = value;
    });
    Atomics.store(words, RUNNING, this.threads - 1);
    Atomics.add(words, ROUND, 1);
    if (this.threads > 1) Atomics.notify(words, ROUND);
  }
}

/** What a thread other than the first does until it is let go. */
export function work(library: Library, { control, stack, thread }: TeamPlace): void {
  library.useStack(stack);
  const words = controlOf(library, control);
  for (let round = 0; ; ) {
    round = waitForChange(words, round);
    if (words[COMMAND] === TASK.end) return;
    perform(library, control, thread);
    Atomics.sub(words, RUNNING, 1);
  }
}

/** Waits until the round is another one, and returns it. */
function waitForChange(words: Int32Array, round: number): number {
  const until = performance.now() + SPIN_MS;
  do {
    for (let spins = 0; spins < 1024; spins++) {
      const now = Atomics.load(words, ROUND);
      if (now !== round) return now;
    }
  } while (performance.now() < until);
  Atomics.wait(words, ROUND, round);
  return Atomics.load(words, ROUND);
}

/** A thread's share of the work that the control block tells of. */
function perform(library: Library, control: number, thread: number): void {
  const words = controlOf(library, control);
  const [first, second] = [words[ARGUMENTS]! >>> 0, words[ARGUMENTS + 1]! >>> 0];
  switch (words[COMMAND]) {
    case TASK.step:
      library.step(first, thread);
      break;
    case TASK.read:
      library.probeRead(first + second * thread, second);
      break;
    case TASK.dot:
      resultsOf(library, control, thread + 1)[thread] = library.probeDot(first, second + 64 * thread);
      break;
  }
}

const controlOf = ({ memory }: Library, control: number): Int32Array =>
  new Int32Array(memory.buffer, control, CONTROL_BYTES / 4);

const resultsOf = ({ memory }: Library, control: number, threads: number): Float64Array =>
  new Float64Array(memory.buffer, control + CONTROL_BYTES, threads);
