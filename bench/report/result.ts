import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { BitnetError } from '../../errors.ts';

const text = z.string().max(1000);
const amount = z.number().nonnegative();
const count = z.number().int().nonnegative();

const estimate = z.object({ median: amount, low: amount, high: amount, confidence: z.number().min(0).max(1) });

const row = z.object({
  kind: z.enum(['prefill', 'decode']),
  tokens: count,
  context: count,
  sequences: count,
  seconds: z.array(amount).max(1000),
  tokensPerSecond: estimate,
  firstTokenMs: estimate.optional(),
  cachedFirstTokenMs: estimate.optional(),
  bytes: amount,
  macs: amount,
  headRows: amount.optional(),
  bound: z.enum(['bandwidth', 'int8']),
  share: estimate,
  /** The same, had all weights been read. Results of before it was measured lack it. */
  pace: estimate.optional(),
});

const result = z.object({
  /** Bumped when what is here changes its meaning. */
  format: z.literal(1),
  date: text,
  version: text,
  model: text,
  cpu: text,
  /** Where it ran on one: then `machine` is that GPU, and weights, KV cache and workspace are in its memory. */
  gpu: text.optional(),
  target: text,
  threads: count,
  kv: text,
  rows: z.array(row).min(1).max(10_000),
  machine: z.object({ readGBps: estimate, int8GMACps: estimate }),
  /** Milliseconds to open the artifact, with its weights in the system's cache: all that `load` does once it is compiled. */
  openMs: estimate,
  /** To compile the model file with no cache at all, weights included, where that was measured. */
  compileSeconds: amount.optional(),
  /** Bytes. */
  memory: z.object({
    /** Of the weights file. */
    weights: count,
    /** What the KV cache may grow to. */
    kv: count,
    workspace: count,
    /** Of the process in memory, after the runs … */
    resident: count,
    /** … and before the model was opened. */
    before: count,
  }),
});

/** What `bitnet bench --json` prints: the speed of a model on a machine. */
export type BenchReport = z.infer<typeof result>;
export type ReportRow = BenchReport['rows'][number];

/** What a row measures, as `decode 128 tokens × 4 after 1024`: rows of the same name can be compared. */
export function rowName({ kind, tokens, context, sequences }: ReportRow): string {
  const times = sequences > 1 ? ` × ${sequences}` : '';
  return `${kind} ${tokens}${times}${context > 0 ? ` after ${context}` : ''}`;
}

/** Reads what `bitnet bench --json` has printed. Throws BitnetError for any other file. */
export async function readReport(file: string): Promise<BenchReport> {
  const content = await readFile(file, 'utf8').catch((cause) => {
    throw new BitnetError(`cannot read ${file}: ${cause.message}`, { cause });
  });
  const hint = 'it must be what bitnet bench --json prints';
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch (cause) {
    throw new BitnetError(`${file} is no JSON`, { hint, cause });
  }
  const parsed = result.safeParse(value);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw new BitnetError(`${file} is no result of a bench: ${path.join('.')}: ${message}`, { hint });
}
