import { utf8 } from './utf8.ts';

/**
 * The alphabet in which byte-level BPE vocabularies are written: one printable character a byte (GPT-2).
 * Printable Latin-1 stands for itself; the other bytes take the code points from U+0100 on, in order.
 */
export const BYTE_CHARS: readonly string[] = makeAlphabet();

const CHAR_BYTES: ReadonlyMap<string, number> = new Map(BYTE_CHARS.map((char, byte) => [char, byte]));

function makeAlphabet(): string[] {
  const chars: string[] = [];
  let spare = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    chars.push(String.fromCharCode(printable ? byte : spare++));
  }
  return chars;
}

/** The bytes that a byte-level token's text stands for. A character outside the alphabet stands for itself in UTF-8. */
export function bytesOfText(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of text) {
    const byte = CHAR_BYTES.get(char);
    if (byte === undefined) bytes.push(...utf8(char));
    else bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
