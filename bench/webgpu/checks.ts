// Logits of target webgpu beside those of the golden models, and a story beside the reference's.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from '../../compiler/index.ts';
import { defaultModel, type LoadOptions, type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { nativeTarget } from '../../targets/index.ts';
import type { Asked } from './main.ts';

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const STORY_TOKENS = 250;
const TEXT_TOKENS = 200;

/** |a - b| / |b| of each row. */
function errorsOf(actual: Float32Array, expected: Float32Array, vocab: number): number[] {
  return Array.from({ length: expected.length / vocab }, (_, row) => {
    let [distance, length] = [0, 0];
    for (let i = row * vocab; i < (row + 1) * vocab; i++) {
      distance += (actual[i]! - expected[i]!) ** 2;
      length += expected[i]! ** 2;
    }
    return Math.sqrt(distance / length);
  });
}

const summary = (errors: readonly number[]): string => {
  const sorted = errors.toSorted((a, b) => a - b);
  return `median ${sorted[sorted.length >> 1]!.toExponential(1)}, worst ${sorted.at(-1)!.toExponential(1)}`;
};

export async function golden({ scratch }: Asked): Promise<void> {
  for (const file of readdirSync(FIXTURES).filter((name) => name.endsWith('.json'))) {
    const { model: name, tokens, logits } = JSON.parse(readFileSync(join(FIXTURES, file), 'utf8'));
    if (logits === undefined) continue;
    const compiled = async (target: string) =>
      (await compile(join(FIXTURES, name), { target, out: join(scratch, 'golden') })).artifact;
    const bytes = readFileSync(join(FIXTURES, logits));
    const expected = {
      f32: new Float32Array(new Uint8Array(bytes).buffer),
      f16: await logitsOf(await compiled(nativeTarget().id), tokens, { kv: 'f16' }),
    };
    const artifact = await compiled('webgpu');
    for (const kv of ['f32', 'f16'] as const) {
      for (const prefillChunk of [256, 4, 1]) {
        const data = await logitsOf(artifact, tokens, { kv, prefillChunk });
        const errors = errorsOf(data, expected[kv], expected[kv].length / tokens.length);
        console.log(`${name}, ${kv} cache, steps of ${prefillChunk}: ${summary(errors)}`);
      }
    }
  }
}

async function logitsOf(artifact: string, tokens: number[], options: LoadOptions): Promise<Float32Array> {
  await using model = await openArtifact(artifact, { sequences: 1, ...options });
  return (await model.logits(tokens)).data;
}

const tell = async (model: Model, temperature: number) =>
  (await model.generate('Once upon a time', { temperature, seed: 1, maxTokens: STORY_TOKENS, ignoreEos: true }).result)
    .tokens;

const equalStart = (a: readonly number[], b: readonly number[]): number => {
  const differs = a.findIndex((token, i) => token !== b[i]);
  return differs < 0 ? a.length : differs;
};

export async function story({ scratch }: Asked): Promise<void> {
  for (const kv of ['f16', 'f32'] as const) {
    const open = async (target: string) =>
      openArtifact((await compile(defaultModel(), { target, out: join(scratch, 'story') })).artifact, { target, kv });
    await using reference = await open(nativeTarget().id);
    await using ours = await open('webgpu');
    for (const temperature of [0, 0.8]) {
      const [a, b] = [await tell(ours, temperature), await tell(reference, temperature)];
      console.log(`${kv} cache, temperature ${temperature}: ${equalStart(a, b)} of ${b.length} tokens equal`);
    }
    const text = readFileSync(join(packageRoot(), 'models', 'eval_tokens.txt'), 'utf8').trim();
    const tokens = text.split(/[\s,]+/, TEXT_TOKENS).map(Number);
    const [a, b] = [await ours.logits(tokens), await reference.logits(tokens)];
    console.log(`${kv} cache, logits of ${tokens.length} tokens: ${summary(errorsOf(a.data, b.data, b.vocab))}`);
    const [p, q] = [await ours.perplexity(tokens), await reference.perplexity(tokens)];
    console.log(`${kv} cache, perplexity ${p.perplexity.toFixed(5)}, reference ${q.perplexity.toFixed(5)}`);
  }
}
