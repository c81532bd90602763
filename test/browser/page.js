// What the tests do in a page. The results go back as JSON.
import { BitnetError, load } from '/browser.js';

let model;
const steps = [];

async function outcome(work) {
  try {
    return await work();
  } catch (error) {
    return { error: error.message, hint: error.hint, own: error instanceof BitnetError };
  }
}

window.bitnet = {
  /** Loads a model, and tells what it is. */
  load: (from, options) =>
    outcome(async () => {
      steps.length = 0;
      model = await load(from, { ...options, onProgress: (step) => steps.push(step) });
      return { target: model.target, threads: model.threads, rejected: model.rejected, memory: model.memory(), steps };
    }),
  /** The same, of the bytes of an archive. */
  loadBytes: async (url, as) => {
    const bytes = await (await fetch(url)).arrayBuffer();
    return window.bitnet.load(as === 'file' ? new File([bytes], 'model.tar') : bytes);
  },
  /** Loads it and gives up after some weights. */
  leave: (from) =>
    outcome(async () => {
      const leaving = new AbortController();
      const onProgress = ({ loaded }) => {
        if (loaded > 0) leaving.abort(new Error('left'));
      };
      await load(from, { signal: leaving.signal, onProgress });
      return {};
    }),
  generate: (prompt, options) =>
    outcome(async () => {
      const generation = model.generate(prompt, options);
      const pieces = [];
      for await (const piece of generation) pieces.push(piece);
      const { text, tokens, finishReason } = await generation.result;
      return { pieces, text, tokens, finishReason };
    }),
  /** Reads some pieces and stops; then the model must still answer. */
  stop: (prompt, after) =>
    outcome(async () => {
      const generation = model.generate(prompt, { temperature: 0 });
      let read = 0;
      for await (const _ of generation) if (++read === after) break;
      const { finishReason, tokens } = await generation.result;
      return {
        finishReason,
        tokens: tokens.length,
        afterwards: (await window.bitnet.generate(prompt, { maxTokens: 2 })).text,
      };
    }),
  dispose: () => model.dispose(),
};
