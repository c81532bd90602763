import type {
  EmbeddingOutput,
  EngineFacts,
  GenerationOutput,
  LogitsOutput,
  MeasurementOutput,
  NativeEngine,
  NativeGenerateOptions,
  NativeOutput,
  ScoreOutput,
} from '../addon.ts';
import { DISPOSED } from './engine.ts';
import { type Ask, clock, type FromEngine, failureOf, type News, type ToEngine } from './protocol.ts';

/** The way to an engine in another thread. */
export interface Line {
  post(message: ToEngine): void;
  /** Somebody waits for an answer, or nobody any more: then the thread need not keep the process alive. */
  hold(held: boolean): void;
  /** Ends the thread, whatever it is at. */
  end(): Promise<void>;
}

/** What of a request has come and was not taken. */
interface Box {
  readonly kind: Ask['kind'];
  news: News[];
  awaited: boolean;
}

/** An engine in another thread, with the face of the native one. */
export class RemoteEngine implements NativeEngine {
  readonly facts: EngineFacts;
  readonly #line: Line;
  readonly #wake: (id: number) => void;
  readonly #boxes = new Map<number, Box>();
  #last = 0;
  #awaited = 0;
  #ended: string | undefined;
  #disposed: (() => void) | undefined;

  constructor(facts: EngineFacts, line: Line, wake: (id: number) => void) {
    this.facts = facts;
    this.#line = line;
    this.#wake = wake;
    line.hold(false);
  }

  generate(prompt: Int32Array, options: NativeGenerateOptions): number {
    this.#check(prompt, [prompt.length]);
    return this.#ask({ kind: 'generate', tokens: prompt, options, at: clock() });
  }

  logits(tokens: Int32Array): number {
    this.#check(tokens, [tokens.length]);
    return this.#ask({ kind: 'logits', tokens });
  }

  embed(tokens: Int32Array, lengths: Int32Array, pooling: 'last' | 'mean' | 'cls'): number {
    this.#check(tokens, lengths);
    return this.#ask({ kind: 'embed', tokens, lengths, pooling });
  }

  score(tokens: Int32Array, window: number): number {
    this.#check(tokens, [Math.min(tokens.length, window) - 1]);
    return this.#ask({ kind: 'score', tokens, window });
  }

  measure(): number {
    return this.#ask({ kind: 'measure' });
  }

  take(id: number): NativeOutput | undefined {
    const box = this.#box(id);
    const last = box.news.at(-1);
    if (!last) {
      if (!box.awaited) this.#await(box, true);
      return undefined;
    }
    const news = box.news;
    box.news = [];
    const output = outputOf(box.kind, news);
    if (last.ending !== 'none') this.#forget(id, box);
    else this.#line.post({ type: 'taken', id, count: box.kind === 'generate' ? tokensOf(news).length : news.length });
    return output;
  }

  cancel(id: number): void {
    this.#forget(id, this.#box(id));
    this.#line.post({ type: 'cancel', id });
  }

  async dispose(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = DISPOSED;
      this.#line.hold(true);
      await new Promise<void>((resolve) => {
        this.#disposed = resolve;
        this.#line.post({ type: 'dispose' });
      });
    }
    await this.#line.end();
  }

  /** To be called with what comes from the engine. */
  receive(message: FromEngine): void {
    if (message.type === 'disposed') this.#disposed?.();
    if (message.type === 'news') this.#put(message.id, message.news);
  }

  /** To be called where the thread, or one of its helpers, has ended with an error. */
  fail(cause: Error): void {
    this.#ended ??= failureOf(cause);
    for (const id of [...this.#boxes.keys()]) this.#put(id, { ending: 'error', error: this.#ended });
    this.#disposed?.();
  }

  #check(tokens: Int32Array, lengths: Iterable<number>): void {
    const { vocab, context } = this.facts;
    if (tokens.length === 0) throw new Error('there are no tokens to run');
    for (const length of lengths) {
      if (length > context) throw new Error(`${length} tokens do not fit a context of ${context}`);
    }
    const at = tokens.findIndex((id) => id < 0 || id >= vocab);
    if (at >= 0) throw new Error(`token ${tokens[at]} at index ${at} is outside the vocabulary of ${vocab}`);
  }

  #ask(ask: Ask): number {
    const id = ++this.#last;
    const news: News[] = this.#ended === undefined ? [] : [{ ending: 'error', error: this.#ended }];
    this.#boxes.set(id, { kind: ask.kind, news, awaited: false });
    if (this.#ended === undefined) this.#line.post({ type: 'ask', id, ask });
    return id;
  }

  #box(id: number): Box {
    const box = this.#boxes.get(id);
    if (!box) throw new Error(`no request under way has the number ${id}`);
    return box;
  }

  #put(id: number, news: News): void {
    const box = this.#boxes.get(id);
    // What was cancelled is forgotten.
    if (!box) return;
    box.news.push(news);
    if (!box.awaited) return;
    this.#await(box, false);
    this.#wake(id);
  }

  #forget(id: number, box: Box): void {
    if (box.awaited) this.#await(box, false);
    this.#boxes.delete(id);
  }

  #await(box: Box, awaited: boolean): void {
    box.awaited = awaited;
    this.#awaited += awaited ? 1 : -1;
    if (this.#awaited === (awaited ? 1 : 0) && this.#disposed === undefined) this.#line.hold(awaited);
  }
}

const tokensOf = (news: readonly News[]): number[] => news.flatMap(({ tokens }) => tokens ?? []);

const rowsOf = (news: readonly News[]): Float32Array => {
  const all = news.flatMap(({ rows }) => rows ?? []);
  if (all.length === 1) return all[0]!;
  const joined = new Float32Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const rows of all) {
    joined.set(rows, at);
    at += rows.length;
  }
  return joined;
};

type Output = GenerationOutput | LogitsOutput | EmbeddingOutput | ScoreOutput | MeasurementOutput;

/** All that has come, as one. */
function outputOf(kind: Ask['kind'], news: readonly News[]): Output {
  const { ending, error } = news.at(-1)!;
  const latest = <Name extends keyof News>(name: Name) => news.findLast((one) => one[name] !== undefined)?.[name];
  switch (kind) {
    case 'generate':
      return { ending, error, tokens: Int32Array.from(tokensOf(news)), stats: latest('stats') ?? NO_STATS };
    case 'logits':
      return { ending, error, rows: rowsOf(news) };
    case 'embed': {
      const texts = Int32Array.from(news.flatMap((one) => one.texts ?? []));
      return { ending, error, texts, rows: rowsOf(news) };
    }
    case 'score':
      return { ending, error, nll: latest('nll') ?? 0, tokens: latest('predicted') ?? 0 };
    case 'measure':
      return {
        ending,
        error,
        readBytesPerSecond: latest('readBytesPerSecond') ?? 0,
        int8MacsPerSecond: latest('int8MacsPerSecond') ?? 0,
      };
  }
}

const NO_STATS: GenerationOutput['stats'] = {
  promptTokens: 0,
  cachedTokens: 0,
  prefillNs: 0,
  firstTokenNs: 0,
  decodeTokens: 0,
  decodeNs: 0,
  counts: { steps: 0, zeros: 0, zeroColumns: 0, screened: 0, rows: 0, screenBytes: 0, headBytes: 0 },
};
