// One of each thing that target cuda does, on an artifact: for a tool that watches.
import { openArtifact } from '../../index.ts';

/** Opens the artifact some times, and runs steps of every size, single tokens of several sequences, and long contexts. */
export async function exercise(artifact: string): Promise<void> {
  const prompt = (length: number, from = 0) => Array.from({ length }, (_, i) => ((from + i) * 37 + 11) % 900);
  {
    await using model = await openArtifact(artifact, { target: 'cuda', contextLength: 512, sequences: 3 });
    // The programs of 64 tokens and fewer, of 16 and fewer, and of more.
    for (const length of [1, 9, 40, 100]) await model.logits(prompt(length, length));
    // A step of one token as a graph, and the step after it begun ahead; then tokens drawn from all logits, and
    // from the largest.
    await model.generate(prompt(5), { temperature: 0, maxTokens: 6, ignoreEos: true }).result;
    await model.generate(prompt(5), { temperature: 1, topK: 0, topP: 1, maxTokens: 3, ignoreEos: true }).result;
    const penalties = { repetitionPenalty: 1.2, presencePenalty: 0.1, logitBias: { 3: 1 } };
    await model.generate(prompt(5), { temperature: 1, ...penalties, maxTokens: 5, ignoreEos: true }).result;
    // A context that is split.
    await model.generate(prompt(300), { temperature: 0, maxTokens: 4, ignoreEos: true }).result;
    const several = [12, 20, 150].map((length) =>
      model.generate(prompt(length, length), { temperature: 0, maxTokens: 7, ignoreEos: true }),
    );
    await Promise.all(several.map(({ result }) => result));
    await model.embed(['one text', 'and another one, somewhat longer']);
  }
  await using wide = await openArtifact(artifact, { target: 'cuda', contextLength: 128, sequences: 1, kv: 'f32' });
  await wide.logits(prompt(20));
  await wide.generate(prompt(5), { temperature: 0, maxTokens: 3, ignoreEos: true }).result;
}
