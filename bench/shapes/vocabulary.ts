/** A byte-level BPE vocabulary: the 256 bytes, made-up words of letters and spaces, begin and end of text. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  readonly merges: readonly string[];
  /** GGUF token types. */
  readonly types: readonly number[];
}

const NORMAL = 1;
const CONTROL = 3;

/** A vocabulary of `size` tokens, 258 or more. Words are all strings over the alphabet, the shorter ones first. */
export function makeVocabulary(size: number): Vocabulary {
  const bytes = byteCharacters();
  const alphabet = [...'abcdefghijklmnopqrstuvwxyz'].concat(bytes[' '.charCodeAt(0)]!);
  const tokens = [...bytes];
  const merges: string[] = [];
  const stems = [...alphabet];
  const words = size - 2;
  for (let i = 0; tokens.length < words; i++) {
    for (const letter of alphabet.slice(0, words - tokens.length)) {
      const word = stems[i]! + letter;
      tokens.push(word);
      stems.push(word);
      merges.push(`${stems[i]} ${letter}`);
    }
  }
  tokens.push('<|begin_of_text|>', '<|end_of_text|>');
  return { tokens, merges, types: tokens.map((_, id) => (id < words ? NORMAL : CONTROL)) };
}

/** GPT-2's characters for bytes: printable ones stand for themselves, the others for U+0100 and on, in order. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCharCode(printable ? byte : next++);
  });
}
