import type { TokenizerData } from './data.ts';

/** What a token is for, in GGUF's numbers. Type 2 (unknown) counts as CONTROL: it is not text either. */
export const TEXT = 1;
export const CONTROL = 3;
export const ADDED = 4;
export const UNUSED = 5;
export const BYTE = 6;

/** Names under which models keep the tokens that end a text or a turn, whether or not the file's metadata lists them. */
export const END_NAMES: ReadonlySet<string> = new Set([
  '</s>',
  '<|end_of_text|>',
  '<|endoftext|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|im_end|>',
  '<|end|>',
  '<|return|>',
  '<end_of_turn>',
  '<eos>',
  '<EOT>',
  '[EOS]',
  '[EOT]',
]);

/** The kind of a token by its type in the model file, or where there are none by its text. */
export function kindOf(data: TokenizerData, id: number): number {
  const token = data.tokens[id]!;
  switch (data.types[id]) {
    case 2:
    case CONTROL:
      return CONTROL;
    case ADDED:
      return ADDED;
    case UNUSED:
      return UNUSED;
    case BYTE:
      return byteOf(token) >= 0 ? BYTE : TEXT;
    case undefined:
      return data.model === 'llama' && byteOf(token) >= 0 ? BYTE : TEXT;
    default:
      return TEXT;
  }
}

/** The byte that a token of the form `<0x0A>` stands for, or -1. */
export function byteOf(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
}
