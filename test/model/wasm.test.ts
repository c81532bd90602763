// A model in WebAssembly beside the same one in native code: what is generated is the same, token for token, however the next
// one is chosen; and what cannot be opened says why.
import { rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile } from '../../compiler/index.ts';
import { defaultModel } from '../../index.ts';
import { type GenerateOptions, type Model, openArtifact } from '../../runtime/src/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const WASM_TARGET = 'wasm-simd128';
const PROMPT = 'Once upon a time';

const { beds, absent } = await testBeds();
const wasm = suite('a model in WebAssembly');

/** Ways of choosing the next token that take other paths through the sampler. */
const CHOICES: Readonly<Record<string, GenerateOptions>> = {
  greedily: { temperature: 0, maxTokens: 80 },
  'by temperature alone': { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 7, maxTokens: 40 },
  'from the forty largest': { temperature: 0.9, topK: 40, topP: 0.9, seed: 11, maxTokens: 40 },
  'from the nucleus': { temperature: 1.3, topK: 0, topP: 0.95, seed: 5, maxTokens: 40 },
  'by min-p': { temperature: 1.1, topK: 0, topP: 1, minP: 0.05, seed: 23, maxTokens: 40 },
  'with penalties and a bias': {
    temperature: 0.8,
    topK: 20,
    repetitionPenalty: 1.3,
    presencePenalty: 0.2,
    frequencyPenalty: 0.3,
    logitBias: { 300: 2, 400: -3 },
    seed: 99,
    maxTokens: 60,
  },
};

if (absent.some(({ target }) => target.id === WASM_TARGET)) {
  skip(wasm, 'generates as native code does', absent.find(({ target }) => target.id === WASM_TARGET)!.reason);
} else {
  const folder = temporaryFolder('model-wasm');
  const native = beds.find(({ target }) => target.id !== WASM_TARGET && target.arch !== 'any') ?? beds[0]!;
  const { artifact } = await compile(defaultModel(), { target: `${native.target.id},${WASM_TARGET}`, out: folder });
  const models: Model[] = [];
  const open = async (target: string, threads = 1) => {
    const model = await openArtifact(artifact, { target, threads, contextLength: 256, sequences: 2 });
    models.push(model);
    return model;
  };
  wasm.after(async () => {
    for (const model of models) await model.dispose();
  });
  const both = Promise.all([open(native.target.id), open(WASM_TARGET, 2)]);

  for (const [title, options] of Object.entries(CHOICES)) {
    wasm(`chooses ${title} as native code does`, async () => {
      const [expected, found] = await Promise.all(
        (await both).map(async (model) => (await model.generate(PROMPT, options).result).tokens),
      );
      assert.ok(expected!.length > 10);
      assert.equal(found, expected);
    });
  }

  wasm('scores and embeds as native code does, bit for bit', async () => {
    const [expected, found] = await Promise.all(
      (await both).map(async (model) => ({
        nll: (await model.perplexity(model.tokenize('Lily had a red ball. She gave it to Tom.'), { window: 8 })).nll,
        vectors: await model.embed(['a dog', 'the little girl went home'], { pooling: 'mean' }),
      })),
    );
    assert.ok(Math.abs(found!.nll - expected!.nll) < 1e-12);
    assert.equal(found!.vectors, expected!.vectors);
  });

  wasm('generates several texts at once, each as by itself', async () => {
    const [, model] = await both;
    const texts = ['One day', 'The cat', 'Tom and'];
    const generate = async (text: string) =>
      (await model!.generate(text, { temperature: 0, maxTokens: 30 }).result).tokens;
    const alone: (readonly number[])[] = [];
    for (const text of texts) alone.push(await generate(text));
    assert.equal(await Promise.all(texts.map(generate)), alone);
  });

  wasm('weights that end early are refused', async () => {
    const { artifact: own, manifest } = await compile(defaultModel(), {
      target: WASM_TARGET,
      out: join(folder, 'short'),
    });
    const { file, bytes } = Object.values(manifest.weights)[0]!;
    truncateSync(join(own, file), bytes - 64);
    const error = await refusal(() => openArtifact(own, { target: WASM_TARGET, threads: 1 }));
    assert.match(error.message, new RegExp(`holds ${bytes - 64} bytes, the manifest says ${bytes}`));
    rmSync(own, { recursive: true });
  });
}

wasm.run();
