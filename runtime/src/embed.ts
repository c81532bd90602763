import { BitnetError } from '../../errors.ts';
import type { EmbeddingOutput, NativeEngine } from './addon.ts';
import type { Engine } from './engine.ts';
import type { CheckedEmbedOptions, Pooling } from './options.ts';
import type { Tokenizer } from './tokenizer/index.ts';

/** Texts go to the engine in groups of about so many tokens: enough to fill its steps, few enough to hold at once. */
const GROUP_TOKENS = 8192;

/** What embedding needs of the model. */
export interface EmbeddingSource {
  readonly engine: Engine;
  readonly tokenizer: Tokenizer;
  /** Where the options do not say. */
  readonly pooling: Pooling;
  /** Values of a vector. */
  readonly size: number;
  /** Tokens that a text may have, and those that the model was trained for. */
  readonly limit: number;
  readonly trained: number;
}

/** Texts that go to the engine together: the number of the first, and the tokens of each. */
interface Group {
  readonly first: number;
  readonly texts: readonly (readonly number[])[];
}

/** One vector for each text, in order. Throws BitnetError for a text that is too long or has no tokens. */
export async function embedTexts(
  source: EmbeddingSource,
  texts: readonly string[],
  options: CheckedEmbedOptions,
): Promise<Float32Array[]> {
  const { engine, size } = source;
  const { pooling = source.pooling, normalize, onProgress, signal } = options;
  const vectors = new Array<Float32Array>(texts.length);
  let done = 0;
  for await (const group of groupTexts(source, texts, options)) {
    const tokens = Int32Array.from(group.texts.flat());
    const lengths = Int32Array.from(group.texts, ({ length }) => length);
    const start = (native: NativeEngine) => native.embed(tokens, lengths, pooling);
    for await (const output of engine.run<EmbeddingOutput>(start, signal)) {
      output.texts.forEach((number, i) => {
        const vector = output.rows.slice(i * size, (i + 1) * size);
        vectors[group.first + number] = normalize ? normalised(vector) : vector;
      });
      done += output.texts.length;
      if (output.texts.length > 0) onProgress?.(done, texts.length);
    }
  }
  return vectors;
}

async function* groupTexts(
  source: EmbeddingSource,
  texts: readonly string[],
  options: CheckedEmbedOptions,
): AsyncGenerator<Group, void, void> {
  let first = 0;
  let group: (readonly number[])[] = [];
  let tokens = 0;
  for (const [number, text] of texts.entries()) {
    options.signal?.throwIfAborted();
    const name = texts.length === 1 ? 'the text' : `text ${number + 1} of ${texts.length}`;
    const ids = await tokensOf(source, text, name, options);
    group.push(ids);
    tokens += ids.length;
    if (tokens < GROUP_TOKENS && number + 1 < texts.length) continue;
    yield { first, texts: group };
    first = number + 1;
    group = [];
    tokens = 0;
  }
}

/** A text as the model was trained to read it, with the tokens that its tokenizer puts first and last. */
async function tokensOf(
  { tokenizer, limit, trained }: EmbeddingSource,
  text: string,
  name: string,
  { truncate }: CheckedEmbedOptions,
): Promise<readonly number[]> {
  const ids = await tokenizer.encodeAsync(text);
  if (ids.length === 0) {
    throw new BitnetError(`${name} is empty, and the model's tokenizer adds no token of its own`);
  }
  if (ids.length <= limit) return ids;
  if (!truncate) {
    const more = limit < trained ? ', open the model with a larger contextLength' : '';
    throw new BitnetError(`${name} has ${ids.length} tokens, there is room for ${limit}`, {
      hint: `Shorten it${more}, or set truncate to embed the beginning; the model was trained for up to ${trained}.`,
    });
  }
  // The token that ends a text stays its last: it is the one whose hidden state counts.
  const ends = ids.at(-1) === tokenizer.eos && limit > 1;
  return ends ? [...ids.slice(0, limit - 1), ids.at(-1)!] : ids.slice(0, limit);
}

/** Scaled to a length of 1; a vector of zeros stays as it is. */
function normalised(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
