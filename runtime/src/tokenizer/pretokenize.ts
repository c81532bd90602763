import { BitnetError } from '../../../errors.ts';

/**
 * Cuts a text into the words that BPE merges within, as the regular expression of each model family does.
 * Written as scanners, not as JavaScript regular expressions: those hold the event loop for the whole of a long run
 * (50 ms for a million emoji) and overflow their stack on a longer one.
 * Yields where each word ends. A repeated end is no word: only a place to pause in a long one.
 */
export type PreTokenizer = (text: string, from: number, to: number) => Generator<number, void, void>;

export interface PreTokenizerEntry {
  readonly words: PreTokenizer;
  /** A word that is a token is taken as it is, even where the merges would not lead to it. */
  readonly wholeWords: boolean;
}

const llama: PreTokenizerEntry = { words: (text, from, to) => llamaWords(text, from, to, 3), wholeWords: true };

const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizerEntry> = new Map([
  ['llama-bpe', llama],
  ['llama3', llama],
  ['llama-v3', llama],
  ['falcon3', llama],
  ['falcon_e', llama],
  ['gpt-2', { words: gpt2Words, wholeWords: false }],
  ['qwen2', { words: (text, from, to) => llamaWords(text, from, to, 1), wholeWords: false }],
  ['default', { words: defaultWords, wholeWords: false }],
]);

/** The pre-tokenizer that GGUF's `tokenizer.ggml.pre` names; an empty name is `default`. @throws BitnetError */
export function preTokenizer(name: string): PreTokenizerEntry {
  const entry = PRE_TOKENIZERS.get(name || 'default');
  if (entry) return entry;
  throw new BitnetError(`tokenizer: unknown pre-tokenizer "${name}"`, {
    hint: `Supported: ${[...PRE_TOKENIZERS.keys()].join(', ')}.`,
  });
}

/** Classes of code points: bits of a mask. */
const LETTER = 1;
const NUMBER = 2;
const BLANK = 4;
const LINE_END = 8;
const PUNCTUATION = 16;
const OTHER = 32;
const SPACE = BLANK | LINE_END;
const SYMBOL = PUNCTUATION | OTHER;

/** Class of each code point, filled in as they turn up. */
const classes = new Uint8Array(0x110000);

function classify(char: string): number {
  if (/[\r\n]/.test(char)) return LINE_END;
  if (/\p{L}/u.test(char)) return LETTER;
  if (/\p{N}/u.test(char)) return NUMBER;
  if (/\p{White_Space}/u.test(char)) return BLANK;
  return /[\p{P}$+<=>^~|]/u.test(char) ? PUNCTUATION : OTHER;
}

function classAt(text: string, at: number): number {
  const code = text.codePointAt(at)!;
  classes[code] ||= classify(String.fromCodePoint(code));
  return classes[code]!;
}

function lengthAt(text: string, at: number): number {
  return text.codePointAt(at)! > 0xffff ? 2 : 1;
}

/** How many units are looked at before a pause is offered. */
const PAUSE = 8192;

/** Where the run of code points of the classes in `mask` ends that begins at `from`. */
function* runEnd(text: string, from: number, to: number, mask: number, pause: number): Generator<number, number, void> {
  let at = from;
  for (let until = from + PAUSE; at < to && classAt(text, at) & mask; at += lengthAt(text, at)) {
    if (at >= until) {
      yield pause;
      until = at + PAUSE;
    }
  }
  return at;
}

/** Where the contraction that begins at the apostrophe `at` ends, or `at` itself. */
function contractionEnd(text: string, at: number, to: number, pattern: RegExp): number {
  if (text[at] !== "'") return at;
  return at + (pattern.exec(text.slice(at, Math.min(to, at + 3)))?.[0].length ?? 0);
}

/** Where a run of white space [from, end) gives up its last character, which opens the next word. */
function blankEnd(from: number, end: number, to: number): number {
  return end === to || end - from === 1 ? end : end - 1;
}

/** `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (GPT-2) */
function* gpt2Words(text: string, from: number, to: number): Generator<number, void, void> {
  for (let at = from; at < to; ) {
    const start = at;
    at = contractionEnd(text, start, to, /^'(?:[sdmt]|re|ve|ll)/);
    if (at === start) {
      const body = text[start] === ' ' && start + 1 < to ? start + 1 : start;
      const kind = classAt(text, body);
      if (kind & SPACE) at = blankEnd(start, yield* runEnd(text, start, to, SPACE, start), to);
      else at = yield* runEnd(text, body, to, kind & SYMBOL ? SYMBOL : kind, start);
    }
    yield at;
  }
}

/**
 * `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
 * (Llama 3; Qwen2 has one digit a word instead of three)
 */
function* llamaWords(text: string, from: number, to: number, digits: number): Generator<number, void, void> {
  for (let at = from; at < to; ) {
    const start = at;
    at = contractionEnd(text, start, to, /^'(?:[sdmt]|re|ve|ll)/i);
    if (at === start) {
      const kind = classAt(text, start);
      const second = start + lengthAt(text, start);
      const following = second < to ? classAt(text, second) : 0;
      if (kind === LETTER || (following === LETTER && kind & (BLANK | SYMBOL))) {
        at = yield* runEnd(text, second, to, LETTER, start);
      } else if (kind === NUMBER) {
        for (let n = 0; n < digits && at < to && classAt(text, at) === NUMBER; n++) at += lengthAt(text, at);
      } else if (kind & SYMBOL || (text[start] === ' ' && following & SYMBOL)) {
        at = yield* runEnd(text, second, to, SYMBOL, start);
        at = yield* runEnd(text, at, to, LINE_END, start);
      } else {
        at = yield* llamaSpaceEnd(text, start, to);
      }
    }
    yield at;
  }
}

/** White space up to its last line end, or without one as in {@link blankEnd}. */
function* llamaSpaceEnd(text: string, start: number, to: number): Generator<number, number, void> {
  let lastLine = start;
  let end = start;
  while (end < to && classAt(text, end) & SPACE) {
    end = yield* runEnd(text, end, to, BLANK, start);
    const line = yield* runEnd(text, end, to, LINE_END, start);
    if (line > end) lastLine = end = line;
  }
  return lastLine > start ? lastLine : blankEnd(start, end, to);
}

/** Punctuation apart; the rest as GPT-2; numbers apart, and of these every three ASCII digits. */
function* defaultWords(text: string, from: number, to: number): Generator<number, void, void> {
  for (let at = from; at < to; ) {
    const end = yield* runEnd(text, at, to, PUNCTUATION, at);
    if (end > at) yield end;
    const plain = yield* runEnd(text, end, to, ~PUNCTUATION, end);
    let start = end;
    for (const word of gpt2Words(text, end, plain)) {
      if (word === start) yield word;
      else yield* splitNumber(text, start, word);
      start = word;
    }
    at = plain;
  }
}

function* splitNumber(text: string, from: number, to: number): Generator<number, void, void> {
  let at = from;
  if (text[at] === ' ' && at + 1 < to && classAt(text, at + 1) === NUMBER) yield ++at;
  if (classAt(text, at) === NUMBER) {
    let start = at;
    while (at < to) {
      if (at + 3 <= to && /^[0-9]{3}$/.test(text.slice(at, at + 3))) {
        if (at > start) yield at;
        at += 3;
        yield at;
        start = at;
      } else at += lengthAt(text, at);
    }
    if (start < to) yield to;
  } else yield to;
}
