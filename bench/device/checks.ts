// Logits and stories of target cuda beside those of the reference.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compile } from '../../compiler/index.ts';
import { type LoadOptions, type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import type { CheckedModel } from './models.ts';

/** |cuda - ref| / |ref| of a position's logits, and at how many positions both have the same largest logit. */
interface Difference {
  readonly median: number;
  readonly worst: number;
  readonly agreeing: number;
}

export interface Check {
  readonly model: string;
  readonly tokens: number;
  /** By how many tokens a step has: all, some, one; and with a float32 cache. */
  readonly steps: Readonly<Record<string, Difference>>;
  /** Tokens that are equal of continuations with the same seed, greedy and sampled, and how many there are. */
  readonly story: { readonly greedy: number; readonly sampled: number; readonly of: number };
  readonly perplexity: { readonly cuda: number; readonly ref: number };
}

const STEPS: Readonly<Record<string, LoadOptions>> = {
  'steps of 2048': { prefillChunk: 2048 },
  'steps of 40': { prefillChunk: 40 },
  'steps of 1': { prefillChunk: 1 },
  'float32 cache, steps of 2048': { prefillChunk: 2048, kv: 'f32' },
  'float32 cache, steps of 1': { prefillChunk: 1, kv: 'f32' },
};
const STORY = 250;
const TOKENS = 300;

function difference(actual: Float32Array, expected: Float32Array, vocab: number): Difference {
  const errors: number[] = [];
  let agreeing = 0;
  for (let row = 0; row < expected.length / vocab; row++) {
    const [a, b] = [actual, expected].map((all) => all.subarray(row * vocab, (row + 1) * vocab)) as [
      Float32Array,
      Float32Array,
    ];
    let [distance, length, ours, theirs] = [0, 0, 0, 0];
    for (let i = 0; i < vocab; i++) {
      distance += (a[i]! - b[i]!) ** 2;
      length += b[i]! ** 2;
      if (a[i]! > a[ours]!) ours = i;
      if (b[i]! > b[theirs]!) theirs = i;
    }
    errors.push(Math.sqrt(distance / length));
    if (ours === theirs) agreeing++;
  }
  errors.sort((a, b) => a - b);
  return { median: errors[errors.length >> 1]!, worst: errors.at(-1)!, agreeing };
}

async function story(model: Model, prompt: readonly number[], temperature: number): Promise<readonly number[]> {
  const options = { temperature, seed: 1, maxTokens: STORY, ignoreEos: true };
  return (await model.generate(prompt, options).result).tokens;
}

const equalStart = (a: readonly number[], b: readonly number[]): number => {
  const differs = a.findIndex((token, i) => token !== b[i]);
  return differs < 0 ? a.length : differs;
};

async function tokensOf({ name, vocab }: CheckedModel): Promise<number[]> {
  if (name !== 'default') return Array.from({ length: TOKENS }, (_, i) => (i * 37 + 11) % vocab);
  const text = await readFile(join(packageRoot(), 'models', 'eval_tokens.txt'), 'utf8');
  return text
    .trim()
    .split(/[\s,]+/, TOKENS)
    .map(Number);
}

/** Compiles a model for both targets into `out`, and compares what they compute. */
export async function check(model: CheckedModel, out: string): Promise<Check> {
  const { artifact: ours } = await compile(model.path, { target: 'cuda', out });
  const { artifact: theirs } = await compile(model.path, { target: 'ref', out });
  const tokens = await tokensOf(model);
  const prompt = tokens.slice(0, 5);
  const of = async (reference: Model) => ({
    logits: await reference.logits(tokens),
    greedy: await story(reference, prompt, 0),
    sampled: await story(reference, prompt, 0.8),
    perplexity: (await reference.perplexity(tokens)).perplexity,
  });
  const open = async (kv: 'f16' | 'f32') => {
    await using reference = await openArtifact(theirs, { kv });
    return await of(reference);
  };
  const expected = { f16: await open('f16'), f32: await open('f32') };
  const steps: Record<string, Difference> = {};
  let told = { greedy: 0, sampled: 0, of: STORY };
  let perplexity = 0;
  for (const [title, options] of Object.entries(STEPS)) {
    await using gpu = await openArtifact(ours, { target: 'cuda', ...options });
    const { logits } = expected[options.kv ?? 'f16'];
    steps[title] = difference((await gpu.logits(tokens)).data, logits.data, logits.vocab);
    if (perplexity > 0) continue;
    perplexity = (await gpu.perplexity(tokens)).perplexity;
    told = {
      greedy: equalStart(expected.f16.greedy, await story(gpu, prompt, 0)),
      sampled: equalStart(expected.f16.sampled, await story(gpu, prompt, 0.8)),
      of: STORY,
    };
  }
  const both = { cuda: perplexity, ref: expected.f16.perplexity };
  return { model: model.name, tokens: tokens.length, steps, story: told, perplexity: both };
}

export function printCheck({ model, tokens, steps, story: told, perplexity }: Check): void {
  for (const [title, { median, worst, agreeing }] of Object.entries(steps)) {
    const errors = `median ${median.toExponential(1)}, worst ${worst.toExponential(1)}`;
    console.log(`${model.padEnd(12)} ${title.padEnd(28)}: ${errors}, ${agreeing} of ${tokens} agree`);
  }
  const equal = `greedy ${told.greedy}, sampled ${told.sampled} of ${told.of} tokens equal`;
  console.log(
    `${model.padEnd(12)} ${equal}; perplexity ${perplexity.cuda.toFixed(4)}, ref ${perplexity.ref.toFixed(4)}`,
  );
}
