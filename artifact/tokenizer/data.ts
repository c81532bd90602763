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
