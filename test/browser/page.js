// What the tests do in a page. The results go back as JSON.
import { BitnetError, load } from '/browser.js';

let model;
let leaving;
const steps = [];

async function outcome(work) {
  try {
    return await work();
  } catch (error) {
    return { error: error.message, hint: error.hint, own: error instanceof BitnetError };
  }
}

const telling = (step) => steps.push(step);

window.bitnet = {
  /** Loads a model, and tells what it is. */
  load: (from, options) =>
    outcome(async () => {
      steps.length = 0;
      leaving = new AbortController();
      model = await load(from, { ...options, onProgress: telling, signal: leaving.signal });
      const { target, device, threads, rejected } = model;
      return { target, device, threads, rejected, memory: model.memory(), steps };
    }),
  /** What onProgress has been told until now. */
  steps: () => steps,
  /** Aborts the signal that the last load was given. */
  abort: () => leaving.abort(new Error('left')),
  /** Loads the bytes of an archive. */
  loadBytes: async (url, as) => {
    const bytes = await (await fetch(url)).arrayBuffer();
    return window.bitnet.load(as === 'file' ? new File([bytes], 'model.tar') : bytes);
  },
  /** Loads it and gives up after a share of the weights: whether the error is the one that the signal was given. */
  leave: (from, share, options) =>
    outcome(async () => {
      const leaving = new AbortController();
      const reason = new Error('left');
      const onProgress = ({ loaded, total }) => {
        if (loaded >= share * total) leaving.abort(reason);
      };
      try {
        await load(from, { ...options, signal: leaving.signal, onProgress });
        return 'loaded';
      } catch (error) {
        return error === reason;
      }
    }),
  /** Loads one model twice at once; what both tell. */
  loadTwice: (from, prompt, options) =>
    outcome(async () => {
      const models = await Promise.all([load(from), load(from)]);
      const results = models.map((one) => one.generate(prompt, options).result);
      const tokens = (await Promise.all(results)).map(({ tokens }) => tokens);
      for (const one of models) await one.dispose();
      return tokens;
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
  /** Disposes of the model while it tells a story. */
  disposeAt: (prompt, after) =>
    outcome(async () => {
      let read = 0;
      for await (const _ of model.generate(prompt)) if (++read === after) void model.dispose();
    }),
  dispose: () => model.dispose(),
  /** The addresses that something is stored under. */
  stored: async () => {
    const requests = await (await caches.open('bitnet-toolchain')).keys();
    return requests.map(({ url }) => url);
  },
  /** Changes what is stored: pieces of files and their digests, of all whose address ends so. */
  spoil: async (end, text) => {
    const cache = await caches.open('bitnet-toolchain');
    for (const request of await cache.keys()) {
      if (!request.url.endsWith(end)) continue;
      if (text === null) await cache.delete(request);
      else await cache.put(request, new Response(text));
    }
  },
};
