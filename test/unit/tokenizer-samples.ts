import { BYTE_CHARS } from '../../artifact/tokenizer/byte-alphabet.ts';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';

/** Texts that take the tokenizers into their corners. */
export const SAMPLES: readonly string[] = [
  '',
  ' ',
  'Hello, world! Once upon a time there was a little girl.',
  "I'm sure they'll say we've won; it's JOHN'S, isn't IT'LL? 'tis 'twas o'clock ''s",
  'In 1234567 years, 3.14159 ≈ π, ½ + ⅔ = ১২৩ and 12१345१67 ٣٤٥',
  'for (let i = 0; i < n; ++i) {\n\tif (a[i] !== b[i])\r\n    return `x-$`;\n}\n\n\n',
  '   leading, trailing and   inner    blanks   ',
  ' \n \n\n  \t\tmixed \r\n\r\n\u00a0\u3000\u2003 white\u0085space \ufeffmark \n',
  'Привет, мир! 你好，世界。こんにちは。안녕하세요 สวัสดี नमस्ते שלום مرحبا',
  '👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🤖🤖🤖 x😀y 😀!😀 !😀',
  'e\u0301a\u0308 naïve Ångström ǅ ſ İstanbul ﬁ 𝒜𝒷𝒸 𐐷 𝟘𝟙𝟚𝟛',
  '$100+5%=<b>~|^`"#@&*_-/\\(){}[]:;?!…—«»„“”',
  '\u0000\u0001\u007f lone \ud800 and \udc00 surrogates \ud83d',
  '<|begin_of_text|>not special<|end_of_text|></s>',
  'a'.repeat(300),
  `${' '.repeat(99)}x${'\n'.repeat(50)}${'!'.repeat(77)}${'\n'.repeat(3)}`,
];

/** A small byte-level BPE vocabulary with `count` merges, learnt from {@link SAMPLES} pairs at a time. */
export function trainBpe(pre: string, count: number): TokenizerData {
  const tokens = [...BYTE_CHARS];
  const merges: string[] = [];
  let words = SAMPLES.flatMap((text) => text.match(/[\s\S]{1,9}/g) ?? []).map((word) =>
    Array.from(Buffer.from(word), (byte) => BYTE_CHARS[byte]!),
  );
  while (merges.length < count) {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let n = 1; n < word.length; n++) {
        const pair = `${word[n - 1]} ${word[n]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]!;
    const [left, right] = best.split(' ') as [string, string];
    merges.push(best);
    if (!tokens.includes(left + right)) tokens.push(left + right);
    words = words.map((word) => mergePair(word, left, right));
  }
  return byteLevel(pre, tokens, merges);
}

function mergePair(word: readonly string[], left: string, right: string): string[] {
  const merged: string[] = [];
  for (const symbol of word) {
    if (symbol === right && merged.at(-1) === left) merged[merged.length - 1] = left + right;
    else merged.push(symbol);
  }
  return merged;
}

/** A byte-level vocabulary without special tokens. */
export function byteLevel(pre: string, tokens: readonly string[], merges: readonly string[]): TokenizerData {
  return {
    model: 'gpt2',
    pre,
    tokens,
    types: tokens.map(() => 1),
    scores: [],
    merges,
    bos: null,
    eos: null,
    eot: null,
    unknown: null,
    padding: null,
    addBos: false,
    addEos: false,
    addSpacePrefix: false,
    chatTemplate: null,
  };
}
