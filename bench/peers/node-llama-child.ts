// One round of node-llama-cpp: told a Task as JSON in its argument, it prints an Answer.
import { pathToFileURL } from 'node:url';
import type { Answer, Task } from './node-llama.ts';

/** What we use of node-llama-cpp, which is not there when this is compiled. */
interface NodeLlama {
  getLlama(options: object): Promise<{
    loadModel(options: object): Promise<{
      createContext(options: object): Promise<{
        getSequence(): {
          evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
          clearHistory(): Promise<void>;
        };
      }>;
    }>;
  }>;
}

const { entry, model: modelPath, threads, prompt, newTokens }: Task = JSON.parse(process.argv[2]!);
const { getLlama }: NodeLlama = await import(pathToFileURL(entry).href);
const llama = await getLlama({
  gpu: false,
  build: 'never',
  skipDownload: true,
  logLevel: 'error',
  maxThreads: threads,
});
const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
const contextSize = prompt.length + newTokens + 8;
const context = await model.createContext({ contextSize, batchSize: prompt.length, threads, sequences: 1 });
const sequence = context.getSequence();

/** Takes the most probable tokens after the prompt, and the time when each was there. */
async function generate(count: number): Promise<{ tokens: number[]; times: number[] }> {
  await sequence.clearHistory();
  const tokens: number[] = [];
  const times = [performance.now()];
  for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogTokens: true })) {
    tokens.push(token);
    times.push(performance.now());
    if (tokens.length === count) break;
  }
  if (tokens.length !== count) throw new Error(`node-llama-cpp made ${tokens.length} of ${count} tokens`);
  return { tokens, times };
}

await generate(1);
const { tokens, times } = await generate(newTokens + 1);
const result: Answer = {
  prefillSeconds: (times[1]! - times[0]!) / 1000,
  decodeSeconds: (times.at(-1)! - times[1]!) / 1000,
  tokens,
};
console.log(JSON.stringify(result));
process.exit(0);
