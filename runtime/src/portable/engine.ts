import type { EngineFacts } from '../addon.ts';
import { Embedding } from './embedding.ts';
import type { Executor, NeededLogits, Token } from './executor.ts';
import { Generation } from './generation.ts';
import { Logits } from './logits.ts';
import { type Ask, type FromEngine, failureOf, type ToEngine } from './protocol.ts';
import type { SequenceRequest, Tell } from './request.ts';
import { Score } from './score.ts';
import { Slots } from './slots.ts';

/** How a request ends that is under way, or comes, when the model is disposed of. */
export const DISPOSED = 'the model was disposed';

/** Sends a message to whoever opened the model, and gives those buffers away. */
export type Post = (message: FromEngine, transfer: readonly ArrayBuffer[]) => void;

/** Milliseconds of work after which messages are looked at. */
const BREATHE_MS = 2;

interface Measurement {
  readonly tell: Tell;
}

type Request = SequenceRequest | Embedding | Measurement;

const isSequence = (request: Request): request is SequenceRequest => 'tokens' in request;

interface Waiting {
  readonly id: number;
  readonly request: Request;
}

interface Holding<Type> {
  readonly id: number;
  readonly request: Type;
  readonly slot: number;
}

/** What a batch has of a sequence: `count` tokens from its token `first`, and `rows` of the logits from `row`. */
interface Part {
  readonly held: Holding<SequenceRequest>;
  readonly first: number;
  readonly count: number;
  readonly row: number;
  readonly rows: number;
}

/**
 * One model, any number of requests: continuous batching, as runtime/native/engine/engine.cpp has it, over whatever computes
 * the steps. Each step runs one token of every sequence that is decoding and a chunk of one that is still reading its prompt;
 * they take turns at that. Texts to embed have steps of their own in between. Requests beyond the number of KV slots wait in
 * order of arrival.
 */
export class PortableEngine {
  readonly #executor: Executor;
  readonly #chunk: number;
  readonly #post: Post;
  readonly #breathe: () => Promise<void>;
  readonly #slots: Slots;
  #waiting: Waiting[] = [];
  #active: Holding<SequenceRequest>[] = [];
  #embeddings: Holding<Embedding>[] = [];
  #measuring: number | undefined;
  #turn = 0;
  #running = false;
  /** A message has come since it was last looked what there is to do. */
  #told = false;
  #ended: string | undefined;
  #breathed = 0;

  /**
   * `chunk` are the prompt tokens of a step at most, which is what cancelling has to wait for. `breathe` lets the thread take
   * the messages that have come.
   */
  constructor(executor: Executor, chunk: number, post: Post, breathe: () => Promise<void>) {
    this.#executor = executor;
    this.#breathe = breathe;
    this.#chunk = Math.min(Math.max(chunk, 1), executor.maxTokens);
    this.#post = post;
    this.#slots = new Slots(executor.sequences);
  }

  /** What is known of it, on a `device` where it is one that has a name. */
  facts(device = ''): EngineFacts {
    const { vocab, context, threads, weightsBytes, kvBytes, workspaceBytes } = this.#executor;
    return { device, vocab, context, threads, chunk: this.#chunk, weightsBytes, kvBytes, workspaceBytes };
  }

  /** Takes a message. What it asks for is begun before this returns only where nothing is under way. */
  receive(message: ToEngine): void {
    switch (message.type) {
      case 'ask':
        this.#waiting.push({ id: message.id, request: this.#request(message.id, message.ask) });
        break;
      case 'taken':
        this.#active.find(({ id }) => id === message.id)?.request.taken(message.count);
        break;
      case 'cancel':
        this.#cancel(message.id);
        break;
      case 'dispose':
        this.#ended = DISPOSED;
        break;
    }
    this.#told = true;
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      for (;;) {
        if (this.#ended !== undefined) break;
        this.#told = false;
        await this.#admit();
        const stepped = await this.#step();
        const embedded = await this.#embed();
        if (!stepped && !embedded && !this.#told) break;
        await this.#letIn();
      }
    } catch (error) {
      this.#ended = failureOf(error as Error);
    }
    this.#running = false;
    if (this.#ended !== undefined) this.#endAll(this.#ended);
  }

  async #letIn(): Promise<void> {
    if (performance.now() - this.#breathed < BREATHE_MS) return;
    await this.#breathe();
    this.#breathed = performance.now();
  }

  #request(id: number, ask: Ask): Request {
    const tell: Tell = (news) => {
      this.#post({ type: 'news', id, news }, news.rows ? [news.rows.buffer] : []);
    };
    switch (ask.kind) {
      case 'generate':
        return new Generation(ask.tokens, ask.options, ask.at, tell);
      case 'logits':
        return new Logits(ask.tokens, tell);
      case 'embed':
        return new Embedding(ask.tokens, ask.lengths, ask.pooling, this.#executor.embedding, tell);
      case 'score':
        return new Score(ask.tokens, ask.window, tell);
      case 'measure':
        return { tell };
    }
  }

  #cancel(id: number): void {
    const others = ({ id: other }: { readonly id: number }) => other !== id;
    this.#waiting = this.#waiting.filter(others);
    if (this.#measuring === id) this.#measuring = undefined;
    for (const list of [this.#active, this.#embeddings]) {
      const held = list.find((one) => one.id === id);
      if (held) this.#slots.release(held.slot);
    }
    this.#active = this.#active.filter(others);
    this.#embeddings = this.#embeddings.filter(others);
  }

  /** Gives slots to those who wait, in order; the machine is measured when all before are done. */
  async #admit(): Promise<void> {
    for (;;) {
      const next = this.#waiting[0];
      if (!next) return;
      const { id, request } = next;
      if (isSequence(request)) {
        const slot = this.#slots.acquire(request.tokens, request.reusesCache);
        if (slot === undefined) return;
        request.started(this.#slots.cached(slot).length);
        this.#active.push({ id, request, slot });
      } else if (request instanceof Embedding) {
        const slot = this.#slots.acquire([], false);
        if (slot === undefined) return;
        this.#embeddings.push({ id, request, slot });
      } else {
        if (this.#active.length > 0 || this.#embeddings.length > 0) return;
        this.#measuring = id;
        const limits = await this.#executor.limits(() => this.#measuring !== id || this.#ended !== undefined);
        if (this.#measuring !== id) continue;
        this.#measuring = undefined;
        request.tell({ ending: 'done', error: '', ...limits });
      }
      this.#waiting.shift();
    }
  }

  /** What of the batch's logits matters, row by row; nothing where somebody needs all of a row. */
  #neededOf(parts: readonly Part[]): NeededLogits[] | undefined {
    const screens: NeededLogits[] = [];
    for (const { held, rows } of parts) {
      if (rows === 0) continue;
      const needed = held.request.needed(this.#executor.vocab);
      if (!needed || rows > 1) return undefined;
      screens.push(needed);
    }
    return screens;
  }

  /** Runs one batch. False: nobody has anything to run. */
  async #step(): Promise<boolean> {
    const executor = this.#executor;
    const batch: Token[] = [];
    const parts: Part[] = [];
    let rows = 0;
    const cachedOf = ({ slot }: Holding<SequenceRequest>) => this.#slots.cached(slot);
    const add = (held: Holding<SequenceRequest>, count: number) => {
      const first = cachedOf(held).length;
      const row = rows;
      for (let i = first; i < first + count; i++) {
        const logitsRow = held.request.wantsLogits(i) ? rows++ : -1;
        batch.push({ id: held.request.tokens[i]!, position: i, sequence: held.slot, logitsRow, hiddenRow: -1 });
      }
      parts.push({ held, first, count, row, rows: rows - row });
    };
    const left = (held: Holding<SequenceRequest>) => held.request.tokens.length - cachedOf(held).length;
    const room = () => executor.maxTokens - batch.length;

    const turn = this.#active.length === 0 ? 0 : this.#turn++ % this.#active.length;
    const order = [...this.#active.slice(turn), ...this.#active.slice(0, turn)].filter(({ request }) =>
      request.ready(),
    );
    for (const held of order) if (left(held) === 1 && room() > 0) add(held, 1);
    const reading = order.find((held) => left(held) > 1);
    if (reading && room() > 0) {
      const { request } = reading;
      let count = Math.min(left(reading), this.#chunk, room());
      if (request.wantsLogits(cachedOf(reading).length)) {
        count = Math.min(count, executor.maxRows - executor.sequences, request.maxRows(executor.vocab));
      }
      add(reading, count);
    }
    if (batch.length === 0) return false;

    const begun = performance.now();
    const screens = this.#neededOf(parts);
    const { logits, counts, found } = await executor.step(batch, screens ? { screens } : {});
    const took = performance.now() - begun;
    const { vocab, context } = executor;
    for (const { held, first, count, row, rows } of parts) {
      // It may have been cancelled meanwhile.
      if (!this.#active.includes(held)) continue;
      const cached = cachedOf(held);
      for (let i = first; i < first + count; i++) cached.push(held.request.tokens[i]!);
      const own = logits.subarray(row * vocab, (row + rows) * vocab);
      const next = held.request.accept({ first, count, logits: own, found, vocab, context, counts, took });
      if (next === 'restart') cached.length = 0;
      if (next === 'ended') this.#cancel(held.id);
    }
    return true;
  }

  /** Runs one step of texts to embed; requests take turns. False: there are none. */
  async #embed(): Promise<boolean> {
    if (this.#embeddings.length === 0) return false;
    const held = this.#embeddings[this.#turn++ % this.#embeddings.length]!;
    if (!(await held.request.step(this.#executor, held.slot, this.#chunk))) this.#cancel(held.id);
    return true;
  }

  #endAll(error: string): void {
    for (const { request } of [...this.#waiting, ...this.#active, ...this.#embeddings]) {
      request.tell({ ending: 'error', error });
    }
    this.#waiting = [];
    this.#active = [];
    this.#embeddings = [];
    if (error === DISPOSED) this.#post({ type: 'disposed' }, []);
  }
}
