// One of each thing that target cuda does, on an artifact: for a tool that watches.
import { openArtifact } from '../../index.ts';

/**
 * Opens the artifact some times, and runs steps of every size, single tokens of several sequences, and a context that is
 * split: each as seldom as shows all kernels, which take a hundred times longer when they are watched.
 */
export async function exercise(artifact: string): Promise<void> {
  const prompt = (length: number, from = 0) => Array.from({ length }, (_, i) => ((from + i) * 37 + 11) % 900);
  {
    await using model = await openArtifact(artifact, { target: 'cuda', contextLength: 320, sequences: 2 });
    // The programs of 64 tokens and fewer, of 16 and fewer, and of more.
    for (const length of [9, 40, 70]) await model.logits(prompt(length, length));
    // A step of one token as a graph, and the step after it begun ahead; then tokens drawn from all logits, and
    // from the largest.
    await model.generate(prompt(2), { temperature: 0, maxTokens: 4, ignoreEos: true }).result;
    await model.generate(prompt(2), { temperature: 1, topK: 0, topP: 1, maxTokens: 2, ignoreEos: true }).result;
    const penalties = { repetitionPenalty: 1.2, presencePenalty: 0.1, logitBias: { 3: 1 } };
    await model.generate(prompt(2), { temperature: 1, ...penalties, maxTokens: 2, ignoreEos: true }).result;
    // A context that is split.
    await model.generate(prompt(280), { temperature: 0, maxTokens: 2, ignoreEos: true }).result;
    const several = [12, 20].map((length) =>
      model.generate(prompt(length, length), { temperature: 0, maxTokens: 3, ignoreEos: true }),
    );
    await Promise.all(several.map(({ result }) => result));
    await model.embed(['a text']);
  }
  await using wide = await openArtifact(artifact, { target: 'cuda', contextLength: 64, sequences: 1, kv: 'f32' });
  await wide.logits(prompt(20));
  await wide.generate(prompt(2), { temperature: 0, maxTokens: 2, ignoreEos: true }).result;
}
