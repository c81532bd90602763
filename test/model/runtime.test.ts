import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { type Model, openArtifact } from '../../runtime/src/index.ts';

// The embedded default model through the whole runtime, on the best target of this machine.

const models = join(packageRoot(), 'models');
const GREEDY = { temperature: 0 } as const;
let artifact: string;
let model: Model;

test.before(async () => {
  ({ artifact } = await compile(join(models, 'storyteller-25m-i2_s.gguf')));
  model = await openArtifact(artifact, { kv: 'f32', threads: 2 });
});
test.after(async () => {
  await model?.dispose();
});

const tokensOf = (file: string) =>
  readFileSync(join(models, file), 'utf8')
    .trim()
    .split(/[\s,]+/)
    .map(Number);

test('greedy decoding gives the tokens of the float64 reference', async () => {
  const cases = JSON.parse(readFileSync(join(models, 'greedy.json'), 'utf8'));
  for (const { prompt, tokens, greedy } of cases) {
    assert.equal(model.tokenize(prompt), tokens);
    const result = await model.generate(prompt, { ...GREEDY, maxTokens: greedy.length }).result;
    assert.equal(result.tokens, greedy);
  }
});

test('together, texts are what they are alone, in any chunks and with any number of threads', async () => {
  const prompts = ['Once upon a time', 'The king', 'A small dog found a bone and', 'In the forest '.repeat(30)];
  const run = (on: Model, prompt: string, seed: number) =>
    on.generate(prompt, { seed, temperature: 1, maxTokens: 24, ignoreEos: true }).result;
  const together = await Promise.all(prompts.map((prompt, seed) => run(model, prompt, seed)));
  const other = await openArtifact(artifact, { kv: 'f32', threads: 1, prefillChunk: 7, sequences: 1 });
  for (const [seed, prompt] of prompts.entries()) {
    const alone = await run(other, prompt, seed);
    assert.equal(alone.tokens, together[seed]!.tokens);
  }
  await other.dispose();
});

test('a cached prefix changes nothing', async () => {
  const text = 'Tom and his sister went to the river. They';
  const first = await model.generate(text, { ...GREEDY, maxTokens: 20 }).result;
  const again = await model.generate(text, { ...GREEDY, maxTokens: 20 }).result;
  assert.is(again.stats.cachedTokens, again.stats.promptTokens - 1);
  assert.equal(again.tokens, first.tokens);
});

test('perplexity is that of the logits', async () => {
  const window = 64;
  const tokens = tokensOf('eval_tokens.txt').slice(0, 3 * window);
  let sum = 0;
  for (let start = 0; start < tokens.length; start += window) {
    const part = tokens.slice(start, start + window);
    const { data, vocab } = await model.logits(part);
    for (let i = 1; i < part.length; i++) {
      const row = data.subarray((i - 1) * vocab, i * vocab);
      sum += Math.log(row.reduce((total, logit) => total + Math.exp(logit), 0)) - row[part[i]!]!;
    }
  }
  const result = await model.perplexity(tokens, { window });
  assert.is(result.tokens, 3 * (window - 1));
  assert.ok(Math.abs(result.nll - sum / result.tokens) < 1e-6);
});

test('logits do not depend on the chunks they are computed in', async () => {
  const tokens = tokensOf('eval_tokens.txt').slice(0, 150);
  const expected = await model.logits(tokens);
  const other = await openArtifact(artifact, { kv: 'f32', threads: 1, prefillChunk: 1, sequences: 1 });
  const { data } = await other.logits(tokens);
  await other.dispose();
  assert.equal(Buffer.from(data.buffer), Buffer.from(expected.data.buffer));
});

test('without a chat template, chat says so', async () => {
  try {
    await model.chat([{ role: 'user', content: 'Hello' }]).result;
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, 'no chat template');
  }
});

test.run();
