import type { Launch, StepProgram, Trial, WebGpuProgram } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeCounts } from '../addon.ts';
import type {
  Executor,
  FoundLogits,
  Limits,
  NeededLogits,
  StepOptions,
  StepOutput,
  Token,
} from '../portable/executor.ts';
import { SCREEN_KEEP } from '../portable/executor.ts';
import { type Device, MAP_READ, USAGE } from './device.ts';
import type { Pipeline } from './pipelines.ts';
import { Places } from './places.ts';
import { measureLimits } from './probes.ts';
import type { Weights } from './weights.ts';

/** What a model is opened with. */
export interface ExecutorOptions {
  /** Positions of each sequence. */
  readonly context: number;
  readonly kv: 'f16' | 'f32';
  readonly sequences: number;
  /** Tokens of a prompt that a step takes. */
  readonly chunk: number;
}

/** One launch of a step, its bind group made. */
export interface Dispatch {
  readonly launch: Launch;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly x: number;
}

/** How long the launches of a shader took together. */
export interface LaunchTimes {
  readonly shader: string;
  readonly launches: number;
  readonly microseconds: number;
}

/** The most tokens of a step, whatever is asked for. */
const MOST_TOKENS = 512;
/** Whole tiles of what kernels for many tokens take at once. */
const TILE_TOKENS = 64;
/** Bytes of logits that a step may give beside the last token's of each sequence. */
const LOGITS_BYTES = 32 << 20;
/** Steps of so many tokens have their contexts split among workgroups, into so many parts at most. */
const SPLIT_TOKENS = 4;
const MOST_SPLITS = 32;
/** Words of Step in templates/wgsl/partials/step.wgsl.hbs before its tokens, and of a token. */
const STEP_WORDS = 10;
const TOKEN_WORDS = 5;

/** How many logits were found, and one of them with its id. */
const ANSWER_BYTES = 12;

const NO_COUNTS: NativeCounts = {
  steps: 0,
  zeros: 0,
  zeroColumns: 0,
  screened: 0,
  rows: 0,
  screenBytes: 0,
  headBytes: 0,
};

const NO_VALUES = new Float32Array(0);

/** A model in a GPU's memory: weights, KV cache, workspace, and pipelines of its shaders. */
export class WebGpuExecutor implements Executor {
  readonly vocab: number;
  readonly embedding: number;
  readonly maxTokens: number;
  readonly maxRows: number;
  readonly context: number;
  readonly sequences: number;
  readonly threads = 1;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly workspaceBytes: number;
  readonly device: Device;
  readonly program: WebGpuProgram;
  readonly #pipelines: ReadonlyMap<string, Pipeline>;
  readonly #weights: Weights;
  readonly #buffers = new Map<string, GPUBuffer>();
  readonly #kv: readonly GPUBuffer[];
  readonly #places: Places;
  readonly #wide: boolean;
  /** Pairs of a sequence's keys and values in a layer's cache. */
  readonly #sequencePairs: number;
  readonly #dispatches = new Map<StepProgram | readonly Launch[], readonly Dispatch[]>();
  readonly #readback: GPUBuffer;
  readonly #stepWords: ArrayBuffer;
  /** Commands of one more step like the last one. */
  #ahead: { readonly key: string; readonly commands: GPUCommandBuffer } | undefined;
  /** What the largest logit's id is read back in, of one step and the next. */
  readonly #answers: readonly [GPUBuffer, GPUBuffer];
  #foreseen: Foreseen | undefined;
  #failure: BitnetError | undefined;

  /** @throws BitnetError where the GPU has no room for the KV cache or a step */
  constructor(
    device: Device,
    program: WebGpuProgram,
    pipelines: ReadonlyMap<string, Pipeline>,
    weights: Weights,
    options: ExecutorOptions,
  ) {
    const { gpu, maxBinding } = device;
    const { context, kv, sequences, chunk } = options;
    const { headDim, heads, layers, buffers, sampling } = program;
    this.device = device;
    this.program = program;
    this.#pipelines = pipelines;
    this.#weights = weights;
    this.vocab = program.vocab;
    this.embedding = program.embedding;
    this.context = context;
    this.sequences = sequences;
    this.weightsBytes = weights.bytes;
    this.#wide = kv === 'f32';

    const widest = Math.max(...Object.values(buffers));
    const fitting = Math.floor(maxBinding / widest / TILE_TOKENS) * TILE_TOKENS;
    this.maxTokens = Math.min(Math.max(chunk, sequences, SPLIT_TOKENS), MOST_TOKENS, fitting);
    if (this.maxTokens < sequences) {
      throw new BitnetError(
        `this GPU runs ${this.maxTokens} tokens in a step, and ${sequences} sequences were asked for`,
        {
          hint: 'Open the model with fewer sequences.',
        },
      );
    }
    const rowBytes = 4 * this.vocab;
    const logitsBytes = Math.max(Math.min(LOGITS_BYTES, maxBinding - sequences * rowBytes), 0);
    this.maxRows = Math.min(Math.max(Math.floor(logitsBytes / rowBytes), 1), this.maxTokens) + sequences;

    const capacity = Math.ceil(this.maxTokens / TILE_TOKENS) * TILE_TOKENS;
    const storage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
    let workspaceBytes = 0;
    const add = (name: string, size: number, usage: number = storage) => {
      this.#buffers.set(name, gpu.createBuffer({ label: name, size: Math.ceil(size / 16) * 16, usage }));
      workspaceBytes += size;
    };
    for (const [name, bytes] of Object.entries(buffers)) add(name, bytes * capacity);
    add('logits', rowBytes * Math.ceil(this.maxRows / 4) * 4);
    add('states', buffers.hidden! * this.maxTokens);
    add('parts', 4 * SPLIT_TOKENS * MOST_SPLITS * heads * (headDim + 2));
    add('slices', 8 * sampling.slices);
    add('bins', 4 * sampling.bins);
    add('found', 4 + 8 * sampling.room);
    add('more', 4 * SCREEN_KEEP);
    this.#stepWords = new ArrayBuffer(4 * (STEP_WORDS + TOKEN_WORDS * capacity));
    add('step', this.#stepWords.byteLength);
    const angles = anglesOf(program, context);
    add('angles', angles.byteLength);
    gpu.queue.writeBuffer(this.#buffers.get('angles')!, 0, angles);

    const cellBytes = this.#wide ? 8 : 4;
    this.#sequencePairs = pairsOf(program, context);
    const layerBytes = this.#sequencePairs * cellBytes * sequences;
    if (layerBytes > maxBinding) {
      throw new BitnetError(
        `a layer's KV cache of ${sequences} × ${context} positions has ${layerBytes} bytes, this GPU binds ${maxBinding} at most`,
        { hint: 'Open the model with a shorter context or fewer sequences.' },
      );
    }
    this.#kv = Array.from({ length: layers }, () =>
      gpu.createBuffer({ label: 'kv', size: layerBytes, usage: USAGE.STORAGE }),
    );
    this.kvBytes = layers * layerBytes;
    const readback = Math.max(rowBytes * this.maxRows + buffers.hidden! * this.maxTokens, 4 + 8 * sampling.room);
    this.#readback = gpu.createBuffer({
      label: 'readback',
      size: Math.ceil(readback / 16) * 16,
      usage: USAGE.MAP_READ | USAGE.COPY_DST,
    });
    const answer = () => gpu.createBuffer({ size: ANSWER_BYTES, usage: USAGE.MAP_READ | USAGE.COPY_DST });
    this.#answers = [answer(), answer()];
    this.workspaceBytes = workspaceBytes + readback;
    this.#places = new Places(gpu);
    void gpu.lost.then(({ message }) => this.fail(lostError(message)));
  }

  async step(tokens: readonly Token[], { screens, part }: StepOptions = {}): Promise<StepOutput> {
    // Candidates are looked for in one row; of several all is read.
    const screen = screens?.length === 1 ? screens[0] : undefined;
    const rows = tokens.reduce((sum, { logitsRow }) => sum + Number(logitsRow >= 0), 0);
    const hiddenRows = tokens.reduce((sum, { hiddenRow }) => sum + Number(hiddenRow >= 0), 0);
    const splits = this.#splitsOf(tokens);
    const chosen = rows === 1 && screen !== undefined;
    const greedy = chosen && screen.keep === 1 && screen.margin === 0 && screen.rows.length === 0;
    if (greedy && tokens.length === 1 && hiddenRows === 0 && !part && !this.device.fallback) {
      return this.#greedyStep(tokens[0]!, screen);
    }
    this.#foreseen = undefined;
    this.#tell(tokens, rows, splits, screen, part);
    const wants = greedy ? 'largest' : chosen ? 'choices' : 'logits';
    const shape: Shape = { tokens: tokens.length, rows, splits, follow: follow(tokens), hiddenRows, wants };
    const key = Object.values(shape).join();
    const commands = this.#ahead?.key === key ? this.#ahead.commands : this.#commands(shape);
    this.#ahead = undefined;
    this.device.gpu.queue.submit([commands]);

    const logitsBytes = this.#logitsBytes(shape);
    const hiddenBytes = this.program.buffers.hidden!;
    const bytes = logitsBytes + hiddenRows * hiddenBytes;
    const done =
      bytes === 0 ? this.device.gpu.queue.onSubmittedWorkDone() : this.#readback.mapAsync(MAP_READ, 0, bytes);
    // While the GPU is at it: the next token's step will have the same commands.
    if (tokens.length <= SPLIT_TOKENS) this.#ahead = { key, commands: this.#commands(shape) };
    await this.#work(done);
    if (bytes === 0) return { logits: NO_VALUES, hidden: NO_VALUES, counts: NO_COUNTS };
    const mapped = this.#readback.getMappedRange(0, bytes);
    const hidden = new Float32Array(hiddenRows * this.embedding);
    for (let row = 0; row < hiddenRows; row++) {
      hidden.set(new Float32Array(mapped, logitsBytes + row * hiddenBytes, this.embedding), row * this.embedding);
    }
    const found = chosen ? foundIn(mapped, this.program.sampling.room) : undefined;
    const logits = chosen ? NO_VALUES : new Float32Array(mapped.slice(0, logitsBytes));
    this.#readback.unmap();
    if (found === 'too many') return { logits: await this.#wholeRow(), hidden, counts: NO_COUNTS };
    return { logits, hidden, counts: NO_COUNTS, ...(found && { found }) };
  }

  /**
   * A step of one token that wants the largest logit. The next one is begun before this one's answer has come, with the token that
   * the GPU has found itself: where another is asked for, nothing comes of it, as what it left in the cache is written over.
   */
  async #greedyStep(token: Token, screen: NeededLogits): Promise<StepOutput> {
    const foreseen = this.#foreseen;
    const { id, position, sequence } = token;
    const begun =
      foreseen?.id === id &&
      foreseen.position === position &&
      foreseen.sequence === sequence &&
      foreseen.vocab === screen.vocab;
    const answer = begun ? foreseen.answer : this.#answers[0];
    if (!begun) this.#beginGreedy(token, screen, answer, false);
    const done = answer.mapAsync(MAP_READ);
    const next = position + 1;
    this.#foreseen = undefined;
    if (next < this.context) {
      const other = this.#answers[answer === this.#answers[0] ? 1 : 0];
      this.#foreseen = { id: -1, position: next, sequence, vocab: screen.vocab, answer: other };
      this.#beginGreedy({ ...token, position: next }, screen, other, true);
    }
    await this.#work(done);
    const found = foundIn(answer.getMappedRange(), 1) as FoundLogits;
    answer.unmap();
    if (this.#foreseen) this.#foreseen.id = found.ids[0] ?? -1;
    return { logits: NO_VALUES, hidden: NO_VALUES, counts: NO_COUNTS, found };
  }

  /** Has the GPU run a token, its own id or that of the largest logit before, and find the largest logit. */
  #beginGreedy(token: Token, screen: NeededLogits, answer: GPUBuffer, follows: boolean): void {
    const splits = this.#splitsOf([token]);
    this.#tell([token], 1, splits, screen);
    const { gpu } = this.device;
    const found = this.#buffer('found');
    const encoder = gpu.createCommandEncoder();
    if (follows) encoder.copyBufferToBuffer(found, 8, this.#buffer('step'), 4 * STEP_WORDS, 4);
    const pass = encoder.beginComputePass();
    const sizes: Sizes = { tokens: 1, rows: 1, splits, follow: true };
    this.#encode(pass, this.#dispatchesOf(this.program.programs[0]!), sizes);
    this.#encode(pass, this.#dispatchesOf(this.program.greedy), sizes);
    pass.end();
    encoder.copyBufferToBuffer(found, 0, answer, 0, ANSWER_BYTES);
    gpu.queue.submit([encoder.finish()]);
  }

  /** What a step of that shape has the GPU do. */
  #commands(shape: Shape): GPUCommandBuffer {
    const { tokens, hiddenRows, wants } = shape;
    const { greedy, choices, buffers } = this.program;
    const program = this.#programOf(tokens);
    const encoder = this.device.gpu.createCommandEncoder();
    if (wants === 'choices') encoder.clearBuffer(this.#buffer('found'), 0, 4);
    const pass = encoder.beginComputePass();
    this.#encode(pass, this.#dispatchesOf(program), shape);
    if (wants !== 'logits') this.#encode(pass, this.#dispatchesOf(wants === 'largest' ? greedy : choices), shape);
    pass.end();
    const bytes = this.#logitsBytes(shape);
    const from = this.#buffer(wants === 'logits' ? 'logits' : 'found');
    if (bytes > 0) encoder.copyBufferToBuffer(from, 0, this.#readback, 0, bytes);
    if (hiddenRows > 0) {
      encoder.copyBufferToBuffer(this.#buffer('states'), 0, this.#readback, bytes, hiddenRows * buffers.hidden!);
    }
    return encoder.finish();
  }

  /** Bytes that are read back of a step's logits. */
  #logitsBytes({ wants, rows }: Shape): number {
    if (wants === 'logits') return 4 * this.vocab * rows;
    return 4 + 8 * (wants === 'largest' ? 1 : this.program.sampling.room);
  }

  sequencesInPart(positions: number): number {
    return Math.floor(this.#sequencePairs / pairsOf(this.program, positions));
  }

  limits(cancelled: () => boolean): Promise<Limits> {
    return measureLimits(this.device, this.program, this.#pipelines, cancelled);
  }

  /** Sums of a ternary kernel on given activations: of each token, the first and last 16 rows. See Trial. */
  async trial(
    { m, k, q, quant, out, tokens: most, launch }: Trial,
    given: readonly Int8Array[],
  ): Promise<Int32Array[][]> {
    const { gpu } = this.device;
    const perLayer = 2 * 64 * most;
    const layers = this.program.layers;
    const sums: Int32Array[][] = Array.from({ length: layers }, () => []);
    const result = gpu.createBuffer({ size: perLayer * layers, usage: USAGE.MAP_READ | USAGE.COPY_DST });
    for (let first = 0; first < given.length; first += most) {
      const batch = given.slice(first, first + most);
      this.#tell(
        batch.map(() => NO_TOKEN),
        0,
        1,
      );
      batch.forEach((values, t) => {
        const columns = Math.ceil(k / 128) * 128;
        gpu.queue.writeBuffer(this.#buffer(q), t * columns, packed(values, columns));
        const sum = values.reduce((total, value) => total + value, 0);
        const words = new DataView(new ArrayBuffer(8));
        words.setFloat32(0, 1, true);
        words.setInt32(4, sum, true);
        gpu.queue.writeBuffer(this.#buffer(quant), 8 * t, words.buffer as ArrayBuffer);
      });
      const encoder = gpu.createCommandEncoder();
      for (let layer = 0; layer < layers; layer++) {
        const pass = encoder.beginComputePass();
        this.#encode(pass, this.#bound(launch, layer, true), {
          tokens: batch.length,
          rows: 0,
          splits: 1,
          follow: false,
        });
        pass.end();
        batch.forEach((_, t) => {
          const to = layer * perLayer + 128 * t;
          encoder.copyBufferToBuffer(this.#buffer(out), 4 * t * m, result, to, 64);
          encoder.copyBufferToBuffer(this.#buffer(out), 4 * (t * m + m - 16), result, to + 64, 64);
        });
      }
      gpu.queue.submit([encoder.finish()]);
      await this.#work(result.mapAsync(MAP_READ));
      const all = new Float32Array(result.getMappedRange());
      for (let layer = 0; layer < layers; layer++) {
        for (let i = 0; i < 2 * batch.length; i++) {
          const at = (layer * perLayer) / 4 + 16 * i;
          sums[layer]!.push(Int32Array.from(all.subarray(at, at + 16)));
        }
      }
      result.unmap();
    }
    result.destroy();
    return sums;
  }

  /**
   * Runs a step with each launch in a pass of its own, and says how long those of each shader took; the GPU must keep time.
   * @param together in one pass, as steps run them: a single figure
   */
  async profile(tokens: readonly Token[], screen?: NeededLogits, together = false): Promise<LaunchTimes[]> {
    const { gpu } = this.device;
    const rows = tokens.reduce((sum, { logitsRow }) => sum + Number(logitsRow >= 0), 0);
    const splits = this.#splitsOf(tokens);
    const sizes = { tokens: tokens.length, rows, splits, follow: follow(tokens) };
    this.#tell(tokens, rows, splits, screen);
    const program = this.#programOf(tokens.length);
    const chosen = screen && rows === 1 ? this.#dispatchesOf(this.program.greedy) : [];
    const dispatches = [...this.#dispatchesOf(program), ...chosen].filter(({ launch }) => happens(launch, sizes));
    const passes = together
      ? [{ title: 'step', dispatches }]
      : dispatches.map((one) => ({ title: one.launch.shader, dispatches: [one] }));
    const count = 2 * passes.length;
    const querySet = gpu.createQuerySet({ type: 'timestamp', count });
    const resolved = gpu.createBuffer({ size: 8 * count, usage: USAGE.QUERY_RESOLVE | USAGE.COPY_SRC });
    const result = gpu.createBuffer({ size: 8 * count, usage: USAGE.MAP_READ | USAGE.COPY_DST });
    const encoder = gpu.createCommandEncoder();
    passes.forEach(({ dispatches: some }, i) => {
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      const pass = encoder.beginComputePass({ timestampWrites });
      this.#encode(pass, some, sizes);
      pass.end();
    });
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, result, 0, 8 * count);
    gpu.queue.submit([encoder.finish()]);
    await this.#work(result.mapAsync(MAP_READ));
    const times = new BigUint64Array(result.getMappedRange());
    const byShader = new Map<string, LaunchTimes>();
    passes.forEach(({ title: shader }, i) => {
      const { launches, microseconds } = byShader.get(shader) ?? { launches: 0, microseconds: 0 };
      const took = Number(times[2 * i + 1]! - times[2 * i]!) / 1000;
      byShader.set(shader, { shader, launches: launches + 1, microseconds: microseconds + took });
    });
    for (const buffer of [resolved, result]) buffer.destroy();
    querySet.destroy();
    return [...byShader.values()];
  }

  #programOf(tokens: number): StepProgram {
    return this.program.programs.find(({ maxTokens }) => maxTokens >= tokens)!;
  }

  /** Parts that contexts are split into: of one run of positions each, as long as there are not too many. */
  #splitsOf(tokens: readonly Token[]): number {
    if (tokens.length > SPLIT_TOKENS) return 1;
    const longest = Math.max(...tokens.map(({ position }) => position + 1));
    if (longest <= this.program.whole) return 1;
    return Math.min(MOST_SPLITS, Math.ceil(longest / this.#programOf(tokens.length).run));
  }

  #buffer(name: string): GPUBuffer {
    const found = this.#buffers.get(name);
    if (!found) throw new Error(`the program has no buffer ${name}`);
    return found;
  }

  /** Writes what shaders call `step`, and `more`. */
  #tell(
    tokens: readonly Token[],
    rows: number,
    splits: number,
    screen?: NeededLogits,
    part?: StepOptions['part'],
  ): void {
    const { queue } = this.device.gpu;
    const words = new Int32Array(this.#stepWords);
    words[0] = tokens.length;
    words[1] = rows;
    words[2] = splits;
    words[3] = screen?.vocab ?? this.vocab;
    words[4] = (part?.sequence ?? 0) * this.#sequencePairs;
    words[5] = part ? pairsOf(this.program, part.positions) : this.#sequencePairs;
    words[6] = part?.positions ?? this.context;
    words[7] = screen?.keep ?? 0;
    new Float32Array(this.#stepWords)[8] = screen?.margin ?? 0;
    words[9] = screen?.rows.length ?? 0;
    let at = STEP_WORDS;
    for (const { id, position, sequence, logitsRow, hiddenRow } of tokens) {
      words[at++] = id;
      words[at++] = position;
      words[at++] = sequence;
      words[at++] = logitsRow;
      words[at++] = hiddenRow;
    }
    queue.writeBuffer(this.#buffer('step'), 0, this.#stepWords, 0, 4 * at);
    if (screen && screen.rows.length > 0) queue.writeBuffer(this.#buffer('more'), 0, Uint32Array.from(screen.rows));
  }

  #encode(pass: GPUComputePassEncoder, dispatches: readonly Dispatch[], sizes: Sizes): void {
    for (const { launch, pipeline, group, x } of dispatches) {
      if (!happens(launch, sizes)) continue;
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      const y = launch.y ? Math.ceil(sizes[launch.y.of] / launch.y.each) : 1;
      if (y > 0) pass.dispatchWorkgroups(x, y, launch.split ? sizes.splits : 1);
    }
  }

  /** The launches of a program, or of what comes behind it, bound: when they are needed first. */
  #dispatchesOf(program: StepProgram | readonly Launch[]): readonly Dispatch[] {
    const known = this.#dispatches.get(program);
    if (known) return known;
    const bound = (launches: readonly Launch[], layer: number) =>
      launches.flatMap((launch) => this.#bound(launch, layer, false));
    const made =
      'layer' in program
        ? [
            ...bound(program.prologue, 0),
            ...Array.from({ length: this.program.layers }, (_, layer) => bound(program.layer, layer)).flat(),
            ...bound(program.epilogue, 0),
          ]
        : bound(program, 0);
    this.#dispatches.set(program, made);
    return made;
  }

  /** A launch in a layer, once for each part of the tensor that it goes over. */
  #bound(launch: Launch, layer: number, trial: boolean): Dispatch[] {
    const { pipeline, layout } = this.#pipelines.get(launch.shader)!;
    const { window } = this.program;
    const positions = window?.local[layer] ? window.positions : 0;
    const parts = launch.over ? this.#weights.parts(launch.over, layer) : [undefined];
    return parts.map((part) => {
      const { first, count } = part ?? { first: 0, count: 0 };
      const resources = launch.bind.map((name): GPUBufferBinding => {
        if (name === launch.over) return part!.binding;
        if (name === 'kv') return { buffer: this.#kv[layer]! };
        if (/^(shared|layer)\./.test(name)) return this.#weights.parts(name, layer)[0]!.binding;
        return { buffer: this.#buffer(name) };
      });
      const place = this.#places.at({ first, count, window: positions, trial });
      const group = this.device.gpu.createBindGroup({
        layout,
        entries: [place, ...resources].map((resource, binding) => ({ binding, resource })),
      });
      const x = typeof launch.x === 'number' ? launch.x : Math.ceil(count / launch.x.each);
      return { launch, pipeline, group, x };
    });
  }

  async #wholeRow(): Promise<Float32Array> {
    const bytes = 4 * this.vocab;
    const encoder = this.device.gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(this.#buffer('logits'), 0, this.#readback, 0, bytes);
    this.device.gpu.queue.submit([encoder.finish()]);
    await this.#work(this.#readback.mapAsync(MAP_READ, 0, bytes));
    const row = new Float32Array(this.#readback.getMappedRange(0, bytes).slice(0));
    this.#readback.unmap();
    return row;
  }

  /** Why it computes no more: the GPU was lost, or has refused something. */
  get failure(): BitnetError | undefined {
    return this.#failure;
  }

  /** Ends it. What it is at ends with the first error that it was given. */
  fail(error: BitnetError): void {
    this.#failure ??= error;
    this.device.gpu.destroy();
  }

  /** Waits for the GPU. @throws BitnetError where it was lost */
  async #work(done: Promise<unknown>): Promise<void> {
    try {
      await done;
    } catch (cause) {
      // Why is told a little later.
      await new Promise((resolve) => setTimeout(resolve));
      this.fail(lostError((cause as Error).message, cause));
      throw this.#failure;
    }
  }
}

/** What is said where a GPU is gone. */
export const lostError = (message: string, cause?: unknown): BitnetError =>
  new BitnetError(`the GPU was lost: ${message}`, { hint: 'The next request has the model loaded again.', cause });

/** A step that is under way before it was asked for. */
interface Foreseen {
  /** The token that it runs, once that is known. */
  id: number;
  readonly position: number;
  readonly sequence: number;
  readonly vocab: number;
  readonly answer: GPUBuffer;
}

/** What the commands of a step depend on. */
interface Shape extends Sizes {
  readonly hiddenRows: number;
  /** What is read back: whole rows of logits, the largest one's token, or those that may be chosen. */
  readonly wants: 'logits' | 'largest' | 'choices';
}

interface Sizes {
  readonly tokens: number;
  readonly rows: number;
  readonly splits: number;
  /** Whether the tokens follow each other in one sequence. */
  readonly follow: boolean;
}

const follow = (tokens: readonly Token[]): boolean =>
  tokens.every(({ position, sequence }, i) => sequence === tokens[0]!.sequence && position === tokens[0]!.position + i);

function happens({ when }: Launch, { rows, splits, follow }: Sizes): boolean {
  switch (when) {
    case undefined:
      return true;
    case 'one row':
      return rows === 1;
    case 'several rows':
      return rows > 1;
    case 'split':
      return splits > 1;
    case 'following':
      return follow;
    case 'scattered':
      return !follow;
  }
}

const NO_TOKEN: Token = { id: 0, position: 0, sequence: 0, logitsRow: -1, hiddenRow: -1 };

/** Pairs of a sequence's keys and values in a layer. */
const pairsOf = ({ kvHeads, headDim }: WebGpuProgram, positions: number): number =>
  kvHeads * 2 * positions * (headDim / 2);

/** Cosine and sine of every position and rotating pair; those of local layers lie behind those of the model's context. */
function anglesOf({ frequencies, localFrequencies }: WebGpuProgram, context: number): Float32Array<ArrayBuffer> {
  const all = localFrequencies ? [frequencies, localFrequencies] : [frequencies];
  const table = new Float32Array(2 * context * frequencies.length * all.length);
  let at = 0;
  for (const list of all) {
    for (let position = 0; position < context; position++) {
      for (const frequency of list) {
        table[at++] = Math.cos(position * frequency);
        table[at++] = Math.sin(position * frequency);
      }
    }
  }
  return table;
}

/** int8 values as kernels read them: word j of vec4u 2 c + h of 128 columns has columns 32 j + 16 h + 4 c and the next three. */
function packed(values: Int8Array, columns: number): Int8Array<ArrayBuffer> {
  const bytes = new Int8Array(columns);
  values.forEach((value, column) => {
    const [j, h, c] = [(column >> 5) & 3, (column >> 4) & 1, (column >> 2) & 3];
    bytes[(column & ~127) + ((2 * c + h) * 4 + j) * 4 + (column & 3)] = value;
  });
  return bytes;
}

/** What was found, by rising id. */
function foundIn(bytes: ArrayBuffer, room: number): NonNullable<StepOutput['found']> | 'too many' {
  const count = new Uint32Array(bytes, 0, 1)[0]!;
  if (count > room) return 'too many';
  const ids = new Uint32Array(bytes, 4, 2 * count);
  const logits = new Float32Array(bytes, 4, 2 * count);
  const byId = new Map(Array.from({ length: count }, (_, i) => [ids[2 * i + 1]!, logits[2 * i]!]));
  const rising = [...byId].sort(([a], [b]) => a - b);
  return { ids: rising.map(([id]) => id), logits: Float32Array.from(rising, ([, logit]) => logit) };
}
