import { ABI_VERSION } from '../../../artifact/version.ts';
import { BitnetError } from '../../../errors.ts';
import type { Executor, Limits, StepOptions, StepOutput, Token } from '../portable/executor.ts';
import { SCREEN_KEEP } from '../portable/executor.ts';
import { KV_TYPE, LAYOUT } from './abi.ts';
import { Arena, type Library } from './library.ts';
import { Team } from './team.ts';

/** What a model is opened with, files apart. */
export interface ExecutorOptions {
  readonly weightsBytes: number;
  readonly threads: number;
  /** Positions of each sequence. */
  readonly context: number;
  readonly kv: 'f16' | 'f32';
  readonly sequences: number;
  /** Bytes of memory at most. Default: what 32-bit addresses reach. */
  readonly memoryLimit?: number;
  /** What the manifest says; without it nothing is checked. */
  readonly expected?: {
    readonly key: string;
    readonly kernels: readonly { readonly name: string; readonly checksum: string }[];
  };
}

const RECOMPILE = 'The artifact is damaged or of another compilation: compile the model again.';

/** Bytes of logits that a step may give beside the last token's of each sequence. */
const LOGITS_BYTES = 32 << 20;
/** What the machine's speed is measured on: more than caches hold. */
const PROBE_BYTES = 512 << 20;
const PROBE_ROUNDS = 8;

const roundUp = (bytes: number): number => Math.ceil(bytes / 64) * 64;

/** A model in WebAssembly's memory: weights, KV cache, workspace and what a step is told. */
export class WasmExecutor implements Executor {
  readonly vocab: number;
  readonly embedding: number;
  readonly maxTokens: number;
  readonly maxRows: number;
  readonly context: number;
  readonly sequences: number;
  readonly threads: number;
  readonly weightsBytes: number;
  readonly kvBytes: number;
  readonly workspaceBytes: number;
  readonly team: Team;
  readonly arena: Arena;
  readonly #library: Library;
  readonly #kvType: number;
  readonly #sequenceBytes: number;
  readonly #weights: number;
  readonly #kv: number;
  readonly #workspace: number;
  readonly #logits: number;
  readonly #hidden: number;
  readonly #tokens: number;
  readonly #args: number;
  readonly #screens: number;
  readonly #counts: number;
  readonly #teamAt: number;
  #probe: number | undefined;

  /** Lays the memory out; the weights are not there yet. @throws BitnetError where there is no room */
  constructor(library: Library, options: ExecutorOptions) {
    const { info } = library;
    if (info.abiVersion !== ABI_VERSION) {
      throw new BitnetError(`the program has ABI version ${info.abiVersion}, this runtime needs ${ABI_VERSION}`, {
        hint: RECOMPILE,
      });
    }
    const { expected, threads, context, sequences } = options;
    if (expected && expected.key !== info.key) {
      throw new BitnetError(
        `the program has the key ${info.key}, the manifest says ${expected.key}: they are of different compilations`,
        { hint: RECOMPILE },
      );
    }
    this.#library = library;
    this.vocab = info.vocab;
    this.embedding = info.embedding;
    this.maxTokens = info.maxTokens;
    this.maxRows = Math.min(Math.max(Math.floor(LOGITS_BYTES / (4 * info.vocab)), 1), info.maxTokens) + sequences;
    this.context = context;
    this.sequences = sequences;
    this.threads = threads;
    this.weightsBytes = options.weightsBytes;
    this.workspaceBytes = library.workspaceBytes(info.maxTokens, threads);
    this.#kvType = KV_TYPE[options.kv];
    this.#sequenceBytes = roundUp(library.kvBytes(this.#kvType, context));
    this.kvBytes = this.#sequenceBytes * sequences;

    const arena = new Arena(library.memory, library.heap, options.memoryLimit);
    this.arena = arena;
    this.team = new Team(library, arena, threads);
    this.#args = arena.take(LAYOUT.bn_step_args.size, 'a step');
    this.#teamAt = arena.take(LAYOUT.bn_team.size, 'a step');
    this.#counts = arena.take(LAYOUT.bn_counts.size, 'a step');
    // One for each sequence.
    this.#screens = arena.take(sequences * (LAYOUT.bn_screen.size + 4 * SCREEN_KEEP), 'a step');
    this.#tokens = arena.take(LAYOUT.bn_token.size * info.maxTokens, 'a step');
    this.#weights = arena.take(options.weightsBytes, 'the weights');
    this.#workspace = arena.take(this.workspaceBytes, 'the workspace');
    this.#logits = arena.take(4 * info.vocab * this.maxRows, 'logits');
    this.#hidden = arena.take(4 * info.embedding * info.maxTokens, 'hidden states');
    this.#kv = arena.take(this.kvBytes, `a KV cache of ${sequences} × ${context} positions`);
  }

  /** Where the weights go, to be filled before the first step. */
  get weights(): Uint8Array {
    return new Uint8Array(this.#library.memory.buffer, this.#weights, this.weightsBytes);
  }

  /** One checksum for each kernel, 16 hexadecimal digits, computed on the weights. */
  selfTest(): { name: string; checksum: string }[] {
    const { kernels } = this.#library.info;
    const checksums = this.#logits;
    this.#library.selfTest(this.#weights, this.#workspace, checksums);
    const values = new BigUint64Array(this.#library.memory.buffer, checksums, kernels.length);
    return kernels.map(({ name }, i) => ({ name, checksum: values[i]!.toString(16).padStart(16, '0') }));
  }

  /** @throws BitnetError where a kernel computes another checksum than the manifest holds, or the two list other kernels */
  check({ kernels }: NonNullable<ExecutorOptions['expected']>): void {
    const computed = new Map(this.selfTest().map(({ name, checksum }) => [name, checksum]));
    if (computed.size !== kernels.length) {
      throw new BitnetError(`the program holds ${computed.size} kernels, the manifest lists ${kernels.length}`, {
        hint: RECOMPILE,
      });
    }
    for (const { name, checksum } of kernels) {
      const found = computed.get(name);
      if (found === checksum) continue;
      const what = found
        ? `self-test failed: kernel ${name} computed the checksum ${found}, the manifest says ${checksum}: it would give wrong results on this machine`
        : `the program has no kernel ${name}, which the manifest lists`;
      throw new BitnetError(what, { hint: RECOMPILE });
    }
  }

  step(tokens: readonly Token[], { screens = [], part }: StepOptions = {}): StepOutput {
    const { buffer } = this.#library.memory;
    const view = new DataView(buffer);
    let logits = 0;
    let hidden = 0;
    const batch = new Int32Array(buffer, this.#tokens, 5 * tokens.length);
    tokens.forEach((token, i) => {
      batch[5 * i] = token.id;
      batch[5 * i + 1] = token.position;
      batch[5 * i + 2] = token.sequence;
      batch[5 * i + 3] = token.logitsRow;
      batch[5 * i + 4] = token.hiddenRow;
      if (token.logitsRow >= 0) logits++;
      if (token.hiddenRow >= 0) hidden++;
    });
    new Uint8Array(buffer, this.#teamAt, LAYOUT.bn_team.size).fill(0);
    view.setUint32(this.#teamAt + LAYOUT.bn_team.threads, this.threads, true);
    const counts = new BigInt64Array(buffer, this.#counts, LAYOUT.bn_counts.size / 8).fill(0n);

    const args = LAYOUT.bn_step_args;
    const set = (at: number, value: number) => view.setUint32(this.#args + at, value, true);
    set(args.weights, this.#weights);
    set(args.workspace, this.#workspace);
    set(args.kv, this.#kv + (part?.sequence ?? 0) * this.#sequenceBytes);
    const sequenceBytes = part ? this.#partBytes(part.positions) : this.#sequenceBytes;
    view.setBigInt64(this.#args + args.kv_sequence_bytes, BigInt(sequenceBytes), true);
    set(args.kv_capacity, part?.positions ?? this.context);
    set(args.kv_type, this.#kvType);
    set(args.tokens, this.#tokens);
    set(args.token_count, tokens.length);
    set(args.logits_count, logits);
    set(args.logits, this.#logits);
    set(args.hidden, this.#hidden);
    set(args.screen, screens.length > 0 ? this.#screens : 0);
    set(args.counts, this.#counts);
    set(args.team, this.#teamAt);
    screens.forEach((screen, i) => {
      const layout = LAYOUT.bn_screen;
      const at = this.#screens + i * layout.size;
      const rows = this.#screens + this.sequences * layout.size + 4 * SCREEN_KEEP * i;
      view.setInt32(at + layout.vocab, screen.vocab, true);
      view.setInt32(at + layout.keep, screen.keep, true);
      view.setFloat32(at + layout.margin, screen.margin, true);
      view.setUint32(at + layout.rows, rows, true);
      view.setInt32(at + layout.row_count, screen.rows.length, true);
      new Int32Array(buffer, rows, screen.rows.length).set(screen.rows);
    });
    this.team.step(this.#args);

    const count = (name: keyof typeof LAYOUT.bn_counts) => Number(counts[LAYOUT.bn_counts[name] / 8]);
    return {
      logits: new Float32Array(buffer, this.#logits, logits * this.vocab),
      hidden: new Float32Array(buffer, this.#hidden, hidden * this.embedding),
      counts: {
        steps: count('steps'),
        zeros: count('zeros'),
        zeroColumns: count('zero_columns'),
        screened: count('screened'),
        rows: count('rows'),
        screenBytes: count('screen_bytes'),
        headBytes: count('head_bytes'),
      },
    };
  }

  sequencesInPart(positions: number): number {
    return Math.floor(this.#sequenceBytes / this.#partBytes(positions));
  }

  limits(cancelled: () => boolean): Limits {
    const slice = Math.floor(PROBE_BYTES / this.threads / 4096) * 4096;
    if (this.#probe === undefined) {
      this.#probe = this.arena.take(slice * this.threads + 64 * this.threads, 'measuring the machine');
      new Uint8Array(this.#library.memory.buffer, this.#probe, slice * this.threads).fill(1);
    }
    const data = this.#probe;
    const bytes = slice * this.threads;
    let read = 0;
    for (let round = 0; round < PROBE_ROUNDS && !cancelled(); round++) {
      read = Math.max(read, bytes / seconds(() => this.team.read(data, slice)));
    }
    let macs = 0;
    let rounds = 1 << 12;
    for (let measured = 0; measured < PROBE_ROUNDS && !cancelled(); ) {
      let done = 0;
      const took = seconds(() => {
        done = this.team.dot(rounds, data + bytes);
      });
      if (took < 0.05) {
        rounds *= 4;
        continue;
      }
      macs = Math.max(macs, done / took);
      measured++;
    }
    return { readBytesPerSecond: read, int8MacsPerSecond: macs };
  }

  #partBytes(positions: number): number {
    return roundUp(this.#library.kvBytes(this.#kvType, positions));
  }
}

function seconds(run: () => void): number {
  const start = performance.now();
  run();
  return (performance.now() - start) / 1000;
}
