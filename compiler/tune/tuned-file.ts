import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BitnetError } from '../../errors.ts';
import { cacheFolder } from '../build/cache-folder.ts';
import { sha256 } from '../build/fingerprint.ts';
import { writeAll, writeWhole } from '../export/whole-file.ts';
import type { KernelShape } from '../kernels/spec.ts';
import type { TuningMachine } from './machine.ts';

/** Bumped when what a tuned file says changes its meaning. */
export const TUNED_FORMAT = 1;

const count = z
  .number()
  .int()
  .positive()
  .max(2 ** 31);
const amount = z.number().nonnegative();
const text = z.string().min(1).max(1000);
const takes = z.enum(['one', 'few', 'some', 'many']);

const estimate = z.strictObject({ median: amount, low: amount, high: amount, confidence: z.number().min(0).max(1) });

const tile = z.strictObject({
  rows: count,
  columns: count,
  held: count.optional(),
  tokens: count,
  block: z.strictObject({ warps: count, split: count, stages: count }).optional(),
});

const kernel = z.strictObject({ family: text, tile, reason: text });

const layout = z.strictObject({
  layout: text,
  /** Nanoseconds that the matrix takes of a prompt of 128 tokens and 128 new ones. */
  nanoseconds: estimate,
  /** The best kernel of each batch class: of GPUs there are more, by how many tokens a step has. */
  kernels: z.strictObject({ one: kernel, few: kernel.optional(), some: kernel.optional(), many: kernel }),
});

const candidate = z.strictObject({
  /** `bn_bitlinear_i2_gemv_…`, see compiler/kernels/name.ts. */
  kernel: text,
  layout: text,
  takes,
  tile,
  tokens: count,
  /** Of one call. */
  nanoseconds: estimate,
  rounds: count,
  /** Packed weights that a call reads. */
  bytes: count,
  /** The family's own tile. */
  isDefault: z.boolean(),
  /** `slower`: clearly so than the best of its layout. */
  outcome: z.enum(['best', 'slower', 'undecided']),
});

const shape = z.strictObject({
  m: count,
  k: count,
  uses: z.array(text).min(1),
  /** Times that it is in the model. */
  count,
  /** Rows of the projections that it is made of. */
  parts: z.array(count),
  /** Which layout it should be packed in. */
  layout: text,
  reason: text,
  layouts: z.array(layout),
  candidates: z.array(candidate).max(10_000),
});

const setting = z.union([z.string().max(1000), z.number(), z.boolean()]);

const trial = z.strictObject({
  /** `default`, `tuned`, or the setting in which it differs. */
  name: text,
  settings: z.record(z.string(), setting),
  /** Seconds of a prompt of 128 tokens, of a new token, and of both parts of the objective. */
  prefill: estimate,
  perToken: estimate,
  /** Of a GPU, seconds of a step of 64 sequences. */
  perStep: estimate.optional(),
  seconds: estimate,
});

const tuned = z.strictObject({
  format: z.literal(TUNED_FORMAT),
  date: text,
  model: text,
  /** What it was measured on and with: anywhere else it is stale. */
  machine: z.strictObject({
    cpu: text,
    caches: z.array(amount).max(8),
    gpu: z.strictObject({ name: text, capability: count, l2: amount, driver: text }).optional(),
  }),
  target: text,
  threads: count,
  compiler: text,
  version: text,
  limits: z.strictObject({ readGBps: amount, int8GMACps: amount }),
  shapes: z.array(shape).max(1000),
  /** Whole models, turn about. Empty where the time did not suffice, or nothing differed. */
  trials: z.array(trial).max(100),
  /** What should be compiled: the default, where that was faster as a whole. */
  choice: z.enum(['default', 'tuned']),
  /** Options of the compiler that were faster as a whole, and change no result. */
  settings: z.record(z.string(), setting),
  /** Whether everything was measured that there was to measure. */
  complete: z.boolean(),
});

/** What the tuner found out about the matrices of a model on one machine, for one target. */
export type Tuned = z.infer<typeof tuned>;
export type TunedShape = z.infer<typeof shape>;
export type TunedCandidate = z.infer<typeof candidate>;
export type TunedTrial = z.infer<typeof trial>;
export type TunedKernel = z.infer<typeof kernel>;

/** What a tuned file must have been measured on and with. What is undefined may be anything. */
export interface TuningKey {
  readonly machine: TuningMachine;
  readonly target: string;
  readonly threads?: number;
  readonly compiler?: string;
  readonly version: string;
  /** Of GPUs, those that code is generated for. */
  readonly architectures?: readonly string[];
}

/** Where a model's tuned file is kept: one for each target and set of matrix shapes. */
export function tunedPath(architecture: string, shapes: readonly KernelShape[], target: string): string {
  const names = shapes.map(({ m, k }) => `${m}x${k}`).sort();
  return cacheFolder('tuned', `${target}-${sha256(architecture, ...names).slice(0, 12)}.json`);
}

/** Reads a tuned file. Throws a BitnetError that names the place where it is not one. */
export async function readTuned(file: string): Promise<Tuned> {
  const content = await readFile(file, 'utf8').catch((cause) => {
    throw new BitnetError(`cannot read ${file}: ${cause.message}`, { hint: 'bitnet tune MODEL makes one', cause });
  });
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw new BitnetError(`${file} is no JSON`, { hint: 'it must be what bitnet tune writes', cause });
  }
  const parsed = tuned.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new BitnetError(`${file} is no tuned file: ${path.join('.') || 'the top'}: ${message}`, {
    hint: 'bitnet tune MODEL makes one',
  });
}

/** Writes a tuned file, which appears when it is whole. Throws a BitnetError where the system refuses. */
export async function writeTuned(file: string, value: Tuned): Promise<void> {
  const text = `${JSON.stringify(tuned.parse(value), null, 1)}\n`;
  await writeWhole(file, (handle) => writeAll(handle, Buffer.from(text)));
}

const cachesText = (caches: readonly number[]): string => caches.join(', ') || 'unknown';

/** In what a tuned file does not belong to this machine, compiler or use, in words; empty where it does. */
export function staleReasons(file: Tuned, key: TuningKey): string[] {
  type Difference = [what: string, theirs: string | number, ours: string | number | undefined];
  const { gpu: theirs } = file.machine;
  const { gpu: ours } = key.machine;
  const machine: Difference[] =
    theirs || ours
      ? [
          ['the GPU', theirs?.name ?? 'none', ours?.name ?? 'none'],
          ['its compute capability', theirs?.capability ?? 0, ours?.capability ?? 0],
          ['its second-level cache', theirs?.l2 ?? 0, ours?.l2 ?? 0],
          ["NVIDIA's driver", theirs?.driver ?? 'none', ours?.driver ?? 'none'],
        ]
      : [
          ['the CPU', file.machine.cpu, key.machine.cpu],
          ['its caches', cachesText(file.machine.caches), cachesText(key.machine.caches)],
        ];
  const differences: Difference[] = [
    ...machine,
    ['the architecture', `sm_${theirs?.capability}`, theirs ? key.architectures?.join(', ') : undefined],
    ['the target', file.target, key.target],
    ['the number of threads', file.threads, key.threads],
    [theirs ? 'the compiler' : 'the C++ compiler', file.compiler, key.compiler],
    ['the version of bitnet-toolchain', file.version, key.version],
  ];
  return differences
    .filter(([, was, is]) => is !== undefined && was !== is)
    .map(([what, was, is]) => `${what} was ${was} and is ${is}`);
}
