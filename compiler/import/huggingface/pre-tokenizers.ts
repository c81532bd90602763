import { isObject, type Json } from './fields.ts';

const SPLIT = (pattern: string): Json => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
});
const BYTE_LEVEL = (useRegex: boolean): Json => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});
const words = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** How tokenizer.json describes each pre-tokenizer that `tokenizer.ggml.pre` may name. The first of equals is meant. */
const PRE_TOKENIZERS: readonly { readonly names: readonly string[]; readonly steps: readonly Json[] }[] = [
  {
    names: ['llama-bpe', 'llama3', 'llama-v3', 'falcon3', 'falcon_e'],
    steps: [SPLIT(words('{1,3}')), BYTE_LEVEL(false)],
  },
  { names: ['qwen2'], steps: [SPLIT(words('')), BYTE_LEVEL(false)] },
  { names: ['gpt-2'], steps: [BYTE_LEVEL(true)] },
  {
    names: ['default', ''],
    steps: [
      SPLIT('[\\p{P}\\$\\+<=>\\^~\\|]+'),
      SPLIT("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"),
      SPLIT('\\p{N}+'),
      SPLIT('[0-9][0-9][0-9]'),
      BYTE_LEVEL(false),
    ],
  },
];

/** What counts of a step: whether offsets are trimmed does not. */
const SIGNIFICANT: readonly string[] = ['type', 'pattern', 'behavior', 'invert', 'add_prefix_space', 'use_regex'];

/** The name of a byte-level pre-tokenizer, undefined if it is none that we know. */
export function preTokenizerName(preTokenizer: unknown): string | undefined {
  const found = fingerprint(flatten(preTokenizer));
  return PRE_TOKENIZERS.find(({ steps }) => fingerprint(steps) === found)?.names[0];
}

/** The inverse, as tokenizer.json has it; undefined for a name that we do not know. */
export function preTokenizerSteps(name: string): Json | undefined {
  const steps = PRE_TOKENIZERS.find(({ names }) => names.includes(name))?.steps;
  return steps?.length === 1 ? steps[0] : steps && { type: 'Sequence', pretokenizers: steps };
}

/** Whether a word that is a token is taken as it is, even where the merges would not lead to it: `ignore_merges`. */
export function takesWholeWords(name: string): boolean {
  return PRE_TOKENIZERS[0]!.names.includes(name);
}

/** The members of a sequence, and of those in it; none where there is nothing. */
export function flatten(step: unknown): readonly Json[] {
  if (!isObject(step)) return [];
  if (step.type !== 'Sequence') return [step];
  const members = step.pretokenizers ?? step.normalizers ?? step.processors ?? step.decoders;
  return Array.isArray(members) ? members.filter(isObject).flatMap((member) => flattenOnce(member)) : [];
}

/** Sequences are nested once at most: what is deeper is left as it is, and recognised by nobody. */
function flattenOnce(step: Json): readonly Json[] {
  const members = step.type === 'Sequence' ? (step.pretokenizers ?? step.normalizers ?? step.processors) : undefined;
  return Array.isArray(members) ? members.filter(isObject) : [step];
}

/** The contractions of Llama 3's regular expression, without a flag for their case. */
const SPELLED_OUT = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const ANY_CASE = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";

function fingerprint(steps: readonly Json[]): string {
  return JSON.stringify(steps.map((step) => SIGNIFICANT.map((key) => significant(step, key))));
}

/** A setting of a step; those that serialisers leave out have their defaults. */
function significant(step: Json, key: string): unknown {
  if (key === 'invert') return step.invert ?? false;
  if (key === 'pattern' && isObject(step.pattern))
    return String(step.pattern.Regex).replace(SPELLED_OUT, () => ANY_CASE);
  if (step.type === 'ByteLevel' && key === 'use_regex') return step.use_regex ?? true;
  return step[key] ?? null;
}
