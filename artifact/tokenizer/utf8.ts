const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** A text in UTF-8; a lone surrogate counts as U+FFFD. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);

/** The text of bytes in UTF-8; what is none counts as U+FFFD. */
export const textOf = (bytes: Uint8Array<ArrayBuffer>): string => decoder.decode(bytes);
