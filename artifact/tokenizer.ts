import { z } from 'zod';

/**
 * What the runtime needs to turn text into tokens and back, as the model file states it.
 * Field for field the GGUF keys `tokenizer.ggml.*`.
 */
export interface TokenizerData {
  /** `gpt2`: byte-level BPE with merges. `llama`: SentencePiece with scores and byte fallback. */
  readonly model: 'gpt2' | 'llama';
  /** The pre-tokenizer of a `gpt2` model: `llama-bpe`, `gpt-2`, `qwen2`, `falcon3`, `default`. */
  readonly pre: string;
  readonly tokens: readonly string[];
  /** GGUF token types: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte. Empty: all normal. */
  readonly types: readonly number[];
  /** Empty unless `llama`: tokens of a higher score are merged first. */
  readonly scores: readonly number[];
  /** `left right` pairs in order of rank. Of `llama` they come from Hugging Face's files, and count before scores. */
  readonly merges: readonly string[];
  readonly bos: number | null;
  readonly eos: number | null;
  readonly eot: number | null;
  readonly unknown: number | null;
  readonly padding: number | null;
  readonly addBos: boolean;
  readonly addEos: boolean;
  /** SentencePiece: put a space before the text. */
  readonly addSpacePrefix: boolean;
  /** The model's Jinja chat template, if it has one. */
  readonly chatTemplate: string | null;
}

/** Items of a list on one line: a millisecond or so to parse. */
const LINE_ITEMS = 4096;

const lists = {
  tokens: z.array(z.string()),
  types: z.array(z.number()),
  scores: z.array(z.number()),
  merges: z.array(z.string()),
};
const NAMES = Object.keys(lists) as (keyof typeof lists)[];

const scalars = z.strictObject({
  model: z.enum(['gpt2', 'llama']),
  pre: z.string(),
  bos: z.number().nullable(),
  eos: z.number().nullable(),
  eot: z.number().nullable(),
  unknown: z.number().nullable(),
  padding: z.number().nullable(),
  addBos: z.boolean(),
  addEos: z.boolean(),
  addSpacePrefix: z.boolean(),
  chatTemplate: z.string().nullable(),
});

/**
 * Writes a tokenizer as JSON lines: first all that is not a list, then the lists in pieces. A vocabulary of 128,000
 * tokens in one piece would hold up the event loop of whoever parses it.
 */
export function serialiseTokenizer(data: TokenizerData): string {
  const { tokens, types, scores, merges, ...rest } = data;
  const lines: object[] = [rest];
  for (const [name, list] of Object.entries({ tokens, types, scores, merges })) {
    for (let at = 0; at < list.length; at += LINE_ITEMS) lines.push({ [name]: list.slice(at, at + LINE_ITEMS) });
  }
  return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
}

/** Reads what serialiseTokenizer wrote, pausing after each line. Throws where the text is damaged. */
export function* parseTokenizer(text: string): Generator<void, TokenizerData, void> {
  const read: Record<keyof typeof lists, unknown[]> = { tokens: [], types: [], scores: [], merges: [] };
  const [first = '', ...lines] = text.trimEnd().split('\n');
  const rest = scalars.parse(JSON.parse(first));
  for (const line of lines) {
    const value = JSON.parse(line) as Record<string, unknown>;
    const name = NAMES.find((list) => list in value);
    if (name === undefined) throw new Error(`a line holds none of ${NAMES.join(', ')}`);
    for (const item of lists[name].parse(value[name])) read[name].push(item);
    yield;
  }
  return { ...rest, ...(read as Pick<TokenizerData, keyof typeof lists>) };
}
