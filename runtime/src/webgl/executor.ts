import type { WebGlProgram, WebGlStep } from '../../../artifact/webgl.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeOpenOptions } from '../addon.ts';
import type { Executor, Limits, StepOptions, StepOutput, Token } from '../portable/executor.ts';
import { noRoom } from '../portable/room.ts';
import { rotation } from '../scalar/angles.ts';
import { Attention, KvCache } from '../scalar/attention.ts';
import { dot, GATES, type Quant, quantise, rmsNorm } from '../scalar/rows.ts';
import { Table } from '../scalar/table.ts';
import type { Matrices } from './matrices.ts';

/** What a model is opened with. */
export interface WebGlOptions extends Pick<NativeOpenOptions, 'key' | 'kernels' | 'context' | 'kv' | 'sequences'> {
  readonly weightsBytes: number;
  /** Bytes of memory that the model may take. */
  readonly memoryLimit?: number;
}

type Op = WebGlStep['op'];
type StepOf<Name extends Op> = Extract<WebGlStep, { op: Name }>;

/** Gives the matrices to a GPU, and again to another one where it was lost. */
export type Upload = (weights: Uint8Array<ArrayBuffer>) => Matrices;

/** Bytes of logits that a step may give beside the last token's of each sequence. */
const LOGITS_BYTES = 32 << 20;
/** What the machine's speed is measured on, and how often. */
const PROBE_VALUES = 8 << 20;
const PROBE_ROUNDS = 5;

const NO_COUNTS = { steps: 0, zeros: 0, zeroColumns: 0, screened: 0, rows: 0, screenBytes: 0, headBytes: 0 };

/** Rows of values, one for each token of a step. */
class Rows {
  readonly #values: Float32Array;
  readonly #size: number;

  constructor(tokens: number, size: number) {
    this.#values = new Float32Array(tokens * size);
    this.#size = size;
  }

  of(token: number, from = 0, count = this.#size - from): Float32Array {
    const at = token * this.#size + from;
    return this.#values.subarray(at, at + count);
  }
}

/**
 * A model whose ternary matrices a GPU multiplies by, and all else is computed here, one value after the other: in the order of
 * the CPU targets, so that logits are theirs, bit for bit.
 */
export class WebGlExecutor implements Executor {
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
  readonly program: WebGlProgram;
  /** To be filled before a GPU is given them. */
  readonly weights: Uint8Array<ArrayBuffer>;
  #upload: Upload | undefined;
  #matrices: Matrices | undefined;
  readonly #rows: ReadonlyMap<string, Rows>;
  readonly #quants = new Map<string, Quant[]>();
  readonly #table: Table;
  readonly #head: Table;
  readonly #cache: KvCache;
  readonly #attention: Attention;
  readonly #scratch: Float32Array;
  readonly #logits: Float32Array;
  readonly #hidden: Float32Array;

  /** Takes the memory; the weights are not there yet. @throws BitnetError where there is no room */
  constructor(program: WebGlProgram, options: WebGlOptions) {
    const { vocab, embedding, maxTokens, buffers, quantised } = program;
    const { context, sequences, kv, memoryLimit = Number.POSITIVE_INFINITY } = options;
    this.program = program;
    this.vocab = vocab;
    this.embedding = embedding;
    this.maxTokens = maxTokens;
    this.maxRows = Math.min(Math.max(Math.floor(LOGITS_BYTES / (4 * vocab)), 1), maxTokens) + sequences;
    this.context = context;
    this.sequences = sequences;
    this.weightsBytes = options.weightsBytes;
    const sizes = [...Object.entries(buffers), ...Object.entries(quantised)];
    const values = sizes.reduce((all, [, size]) => all + size, 0);
    this.workspaceBytes = 4 * (maxTokens * (values + embedding) + this.maxRows * vocab);
    this.kvBytes = (kv === 'f16' ? 4 : 8) * program.layers * program.kvHeads * program.headDim * context * sequences;
    const needed = this.weightsBytes + this.kvBytes + this.workspaceBytes;
    if (needed > memoryLimit) throw noRoom('the model', needed, memoryLimit);
    try {
      this.weights = new Uint8Array(this.weightsBytes);
      this.#rows = new Map(sizes.map(([name, size]) => [name, new Rows(maxTokens, size)]));
      this.#cache = new KvCache(program, context * sequences, kv);
      this.#logits = new Float32Array(this.maxRows * vocab);
      this.#hidden = new Float32Array(maxTokens * embedding);
    } catch (cause) {
      throw noRoom('the model', needed, memoryLimit, cause);
    }
    const table = ({ encoding, offset, bytes, rows, cols }: WebGlProgram['table']) =>
      new Table(encoding, this.weights.subarray(offset, offset + bytes), rows, cols);
    this.#table = table(program.table);
    this.#head = table(program.head);
    this.#attention = new Attention(program, context);
    this.#scratch = new Float32Array(Math.max(...Object.values(buffers)));
  }

  /** Gives a GPU the matrices, once the weights are there. @throws BitnetError where it does not take them */
  give(upload: Upload): void {
    this.#upload = upload;
    this.#matrices = upload(this.weights);
  }

  /** The GPU's name. */
  get device(): string {
    return this.#given().name;
  }

  step(tokens: readonly Token[], { part }: StepOptions = {}): StepOutput {
    const { prologue, layer, epilogue, layers } = this.program;
    // Where the sequences of a part lie in the place of one.
    const firstOf = ({ sequence }: Token): number =>
      part ? part.sequence * this.context + sequence * part.positions : sequence * this.context;
    const firsts = tokens.map(firstOf);
    for (const step of prologue) this.#run(step, tokens, firsts, 0);
    for (let i = 0; i < layers; i++) for (const step of layer) this.#run(step, tokens, firsts, i);
    for (const step of epilogue) this.#run(step, tokens, firsts, 0);
    const rows = tokens.filter(({ logitsRow }) => logitsRow >= 0).length;
    const states = tokens.filter(({ hiddenRow }) => hiddenRow >= 0).length;
    return {
      logits: this.#logits.subarray(0, rows * this.vocab),
      hidden: this.#hidden.subarray(0, states * this.embedding),
      counts: NO_COUNTS,
    };
  }

  sequencesInPart(positions: number): number {
    return Math.floor(this.context / positions);
  }

  /** How fast this thread reads memory, and the GPU multiplies by the largest matrix. */
  limits(cancelled: () => boolean): Limits {
    const data = new Float64Array(PROBE_VALUES).fill(1);
    const { matrices, maxTokens } = this.program;
    const sizes = matrices.map(({ m, k }) => m * k);
    const largest = sizes.indexOf(Math.max(...sizes));
    const q = new Float32Array(maxTokens * this.columns(largest));
    let read = 0;
    let macs = 0;
    for (let round = 0; round < PROBE_ROUNDS && !cancelled(); round++) {
      let sum = 0;
      const reading = seconds(() => {
        for (let i = 0; i < data.length; i++) sum += data[i]!;
      });
      if (sum === data.length) read = Math.max(read, data.byteLength / reading);
      const multiplying = seconds(() => this.sums(0, largest, q, maxTokens));
      macs = Math.max(macs, (sizes[largest]! * maxTokens) / multiplying);
    }
    return { readBytesPerSecond: read, int8MacsPerSecond: macs };
  }

  /** Values of a row of activations that a matrix is multiplied by. */
  columns(matrix: number): number {
    const { bytes, m } = this.program.matrices[matrix]!;
    return (4 * bytes) / m;
  }

  /**
   * Sums of codes times activations, [token][row]. Where the GPU is lost meanwhile, another one is given the matrices.
   * @throws BitnetError where there is none, or it is lost again
   */
  sums(layer: number, matrix: number, q: Float32Array, tokens: number): Float32Array {
    for (let attempt = 0; attempt < 2; attempt++) {
      const matrices = this.#given();
      try {
        const sums = matrices.sums(layer, matrix, q, tokens);
        if (!matrices.lost) return sums;
      } catch (cause) {
        if (!matrices.lost) throw cause;
      }
    }
    throw new BitnetError('the GPU was lost, and the next one too', {
      hint: 'Load the model again, or take another target.',
    });
  }

  #given(): Matrices {
    if (!this.#matrices || this.#matrices.lost) this.#matrices = this.#upload!(this.weights);
    return this.#matrices;
  }

  #run(step: WebGlStep, tokens: readonly Token[], firsts: readonly number[], layer: number): void {
    switch (step.op) {
      case 'embed':
        this.#embed(step, tokens);
        break;
      case 'norm':
        this.#norm(step, tokens.length, layer);
        break;
      case 'norm_quantise':
        this.#quantise(step, tokens.length, layer, (token) => this.#of(step.input, token));
        break;
      case 'gated_quantise':
        this.#quantise(step, tokens.length, layer, (token) => this.#gated(step, token));
        break;
      case 'bitlinear':
        this.#multiply(step, tokens.length, layer);
        break;
      case 'rope_store':
        this.#rotate(step, tokens, firsts, layer);
        break;
      case 'attention':
        this.#attend(step, tokens, firsts, layer);
        break;
      case 'final_norm':
        this.#finalNorm(step, tokens);
        break;
      case 'head':
        this.#multiplyHead(step, tokens);
        break;
    }
  }

  #of(buffer: string, token: number, from?: number, count?: number): Float32Array {
    return this.#rows.get(buffer)!.of(token, from, count);
  }

  /** float32 values of a layer's weights. */
  #floats(layer: number, offset: number, count: number): Float32Array {
    const { layerBase, layerBytes } = this.program;
    const { buffer, byteOffset } = this.weights;
    return new Float32Array(buffer, byteOffset + layerBase + layer * layerBytes + offset, count);
  }

  #isLocal(layer: number): boolean {
    return this.program.local?.[layer] ?? false;
  }

  #embed({ out, scale, angles, localAngles }: StepOf<'embed'>, tokens: readonly Token[]): void {
    const { frequencies, localFrequencies } = this.program.rope;
    tokens.forEach(({ id, position }, token) => {
      const x = this.#of(out, token, 0, this.embedding);
      this.#table.read(id, x);
      if (scale !== null) for (let i = 0; i < x.length; i++) x[i]! *= scale;
      rotation(this.#of(angles, token), position, frequencies);
      if (localAngles !== null) rotation(this.#of(localAngles, token), position, localFrequencies!);
    });
  }

  #norm({ input, norm, size, out, accumulate }: StepOf<'norm'>, tokens: number, layer: number): void {
    const weight = this.#floats(layer, norm, size);
    for (let token = 0; token < tokens; token++) {
      const to = this.#of(out, token);
      const normed = accumulate ? this.#scratch : to;
      rmsNorm(normed, this.#of(input, token), weight, size, this.program.normEpsilon);
      if (accumulate) for (let i = 0; i < size; i++) to[i]! += normed[i]!;
    }
  }

  #quantise(
    { norm, size, q }: StepOf<'norm_quantise' | 'gated_quantise'>,
    tokens: number,
    layer: number,
    valuesOf: (token: number) => Float32Array,
  ): void {
    const weight = norm === null ? undefined : this.#floats(layer, norm, size);
    const quants: Quant[] = [];
    for (let token = 0; token < tokens; token++) {
      let values = valuesOf(token);
      if (weight) {
        rmsNorm(this.#scratch, values, weight, size, this.program.normEpsilon);
        values = this.#scratch;
      }
      quants.push(quantise(this.#of(q, token), values, size));
    }
    this.#quants.set(q, quants);
  }

  #gated({ input, size, activation }: StepOf<'gated_quantise'>, token: number): Float32Array {
    const gate = GATES[activation];
    const values = this.#of(input, token);
    const up = Math.ceil(size / 16) * 16;
    for (let i = 0; i < size; i++) this.#scratch[i] = gate(values[i]!, values[up + i]!);
    return this.#scratch;
  }

  #multiply({ matrix, q, out, row, accumulate }: StepOf<'bitlinear'>, tokens: number, layer: number): void {
    const { m, k, scales } = this.program.matrices[matrix]!;
    const columns = this.columns(matrix);
    const activations = new Float32Array(tokens * columns);
    for (let token = 0; token < tokens; token++) activations.set(this.#of(q, token, 0, k), token * columns);
    const sums = this.sums(layer, matrix, activations, tokens);
    const groups = this.#floats(layer, scales, m / 16);
    this.#quants.get(q)!.forEach(({ inverseScale, sum }, token) => {
      const to = this.#of(out, token, row, m);
      for (let r = 0; r < m; r++) {
        const scale = Math.fround(groups[r >> 4]! * inverseScale);
        const value = Math.fround((sums[token * m + r]! - sum) * scale);
        to[r] = accumulate ? to[r]! + value : value;
      }
    });
  }

  #rotate(
    { qkv, queryNorm, keyNorm, angles, localAngles }: StepOf<'rope_store'>,
    tokens: readonly Token[],
    firsts: readonly number[],
    layer: number,
  ): void {
    const { heads, kvHeads, headDim } = this.program;
    const keys = Math.ceil((heads * headDim) / 16) * 16;
    const values = keys + Math.ceil((kvHeads * headDim) / 16) * 16;
    tokens.forEach(({ position }, token) => {
      const angle = this.#of(localAngles !== null && this.#isLocal(layer) ? localAngles : angles, token);
      const head = (from: number, index: number) => this.#of(qkv, token, from + index * headDim, headDim);
      for (let i = 0; i < heads; i++) this.#turn(head(0, i), queryNorm, angle, layer);
      for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
        const key = head(keys, kvHead);
        this.#turn(key, keyNorm, angle, layer);
        this.#cache.store({ layer, kvHead, first: firsts[token]! + position }, key, head(values, kvHead));
      }
    });
  }

  /** Norms a head, where there is a norm for it, and turns it by its position. */
  #turn(head: Float32Array, norm: number | null, angles: Float32Array, layer: number): void {
    const { normEpsilon, rope } = this.program;
    if (norm !== null) rmsNorm(head, head, this.#floats(layer, norm, head.length), head.length, normEpsilon);
    const half = rope.frequencies.length;
    const [apart, stride] = rope.pairs === 'half' ? [half, 1] : [1, 2];
    for (let i = 0; i < half; i++) {
      const [a, b] = [head[i * stride]!, head[i * stride + apart]!];
      const [cosine, sine] = [angles[i]!, angles[half + i]!];
      head[i * stride] = Math.fround(a * cosine) - Math.fround(b * sine);
      head[i * stride + apart] = Math.fround(b * cosine) + Math.fround(a * sine);
    }
  }

  #attend(
    { qkv, window, out }: StepOf<'attention'>,
    tokens: readonly Token[],
    firsts: readonly number[],
    layer: number,
  ): void {
    const seen = window !== null && this.#isLocal(layer) ? window : Number.POSITIVE_INFINITY;
    tokens.forEach(({ position }, token) => {
      const begin = Math.max(0, position - seen + 1);
      const first = firsts[token]!;
      this.#attention.attend(this.#cache, layer, first, begin, position, this.#of(qkv, token), this.#of(out, token));
    });
  }

  #finalNorm({ input, norm, out }: StepOf<'final_norm'>, tokens: readonly Token[]): void {
    const { buffer, byteOffset } = this.weights;
    const weight = new Float32Array(buffer, byteOffset + norm, this.embedding);
    tokens.forEach(({ logitsRow, hiddenRow }, token) => {
      if (logitsRow < 0 && hiddenRow < 0) return;
      const normed = logitsRow < 0 ? this.#scratch : this.#of(out, logitsRow);
      rmsNorm(normed, this.#of(input, token), weight, this.embedding, this.program.normEpsilon);
      if (hiddenRow >= 0) this.#hidden.set(normed.subarray(0, this.embedding), hiddenRow * this.embedding);
    });
  }

  #multiplyHead({ input }: StepOf<'head'>, tokens: readonly Token[]): void {
    const wanted = tokens.filter(({ logitsRow }) => logitsRow >= 0).map(({ logitsRow }) => logitsRow);
    if (wanted.length === 0) return;
    const row = this.#scratch.subarray(0, this.embedding);
    const states = wanted.map((logitsRow) => [logitsRow, this.#of(input, logitsRow)] as const);
    for (let id = 0; id < this.vocab; id++) {
      this.#head.read(id, row);
      for (const [logitsRow, state] of states) {
        this.#logits[logitsRow * this.vocab + id] = dot(row, state, this.embedding);
      }
    }
  }
}

function seconds(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}
