import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { nativeTarget } from '../../targets/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { assertLogits, compileFor, logitsOf } from '../support/logits.ts';
import { oracleHidden, oracleLogits } from '../support/oracle.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { rowsOnWebGl } from '../support/webgl.ts';

// The architectures of BitNet's embedding models against a float64 reference: logits, and the hidden states before them.

const QWEN: Description = {
  architecture: 'qwen3',
  embedding: 72,
  ffn: 112,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 40,
  vocab: 61,
  ropeBase: 1e6,
  epsilon: 1e-6,
  embeddingEncoding: 'f16',
  seed: 201,
};
const GEMMA: Description = {
  architecture: 'gemma3',
  embedding: 64,
  ffn: 90,
  layers: 3,
  heads: 4,
  kvHeads: 1,
  headDim: 40,
  vocab: 70,
  ropeBase: 1e6,
  epsilon: 1e-6,
  embeddingEncoding: 'f16',
  seed: 202,
};

/** Tried on every target. */
const EVERYWHERE: Readonly<Record<string, Description>> = {
  'gemma3 with a norm before each projection, a window shorter than a block of positions, scaled global rope': {
    ...GEMMA,
    inputNorms: true,
    ropeLinear: 8,
    window: { positions: 7, pattern: 3 },
    seed: 204,
  },
};

/** What they leave out, on this machine's best target. */
const HERE: Readonly<Record<string, Description>> = {
  'qwen3 with a norm before each projection': { ...QWEN, inputNorms: true },
  'qwen3 without, heads of 24, ragged ffn, a head of its own': {
    ...QWEN,
    embedding: 64,
    ffn: 90,
    headDim: 24,
    headEncoding: 'q8_0',
    seed: 203,
  },
  'gemma3 as BitNet’s 270M: a norm before each projection, no window': { ...GEMMA, inputNorms: true, ropeBase: 10000 },
  'gemma3 with a window of several blocks in layers of the file’s choice, another local base, a scale of its own': {
    ...GEMMA,
    embedding: 72,
    ffn: 112,
    heads: 8,
    kvHeads: 2,
    headDim: 16,
    window: { positions: 21, pattern: [true, false, true], ropeBase: 5000 },
    attentionScale: 0.11,
    seed: 205,
  },
};

const { beds, absent } = await testBeds();
const models = suite('models for embeddings');
const folder = temporaryFolder('embed-models');

for (const [title, description] of [...Object.entries(EVERYWHERE), ...Object.entries(HERE)]) {
  const model: Description = { ...description, context: 256 };
  const everywhere = title in EVERYWHERE;
  const { file, weights } = synthetic(model);
  const path = join(folder, `${model.seed}.gguf`);
  writeFileSync(path, file);
  const random = new Random(model.seed);
  // More than a block of the KV cache, and not a whole number of any step.
  const tokens = Array.from({ length: 135 }, () => random.integer(model.vocab));
  const answers: Buffer[] = [];

  for (const bed of everywhere ? beds : beds.filter(({ target }) => target === nativeTarget())) {
    models(`${title}, on ${bed.target.id}`, async () => {
      const out = join(folder, `${model.seed}-${bed.target.id}`);
      const compiled = await compileFor(bed, path, folder);
      const whole = await logitsOf(compiled, tokens, out, { hidden: `${out}-hidden` });
      assertLogits(whole, oracleLogits(model, weights, tokens));
      const hidden = readFileSync(`${out}-hidden`);
      const all = new Float32Array(new Uint8Array(hidden).buffer);
      const rows = tokens.map((_, i) => all.subarray(i * model.embedding, (i + 1) * model.embedding));
      assertLogits(rows, oracleHidden(model, weights, tokens));
      answers.push(Buffer.concat([readFileSync(out), hidden]));
      assert.ok(answers.at(-1)!.equals(answers[0]!), 'other bits than on the targets before');
      for (const options of [{ chunk: 1 }, { threads: 3, chunk: 7 }, { threads: 2 }]) {
        await logitsOf(compiled, tokens, out, { ...options, hidden: `${out}-hidden` });
        const again = Buffer.concat([readFileSync(out), readFileSync(`${out}-hidden`)]);
        assert.ok(again.equals(answers[0]!), `other bits with ${JSON.stringify(options)}`);
      }
    });
  }
  if (everywhere) {
    models(`${title}, on webgl: the same logits and hidden states`, async () => {
      const { logits, hidden } = await rowsOnWebGl(path, folder, tokens);
      const bytes = Buffer.concat([...logits, ...hidden].map((row) => new Uint8Array(row.buffer)));
      assert.ok(bytes.equals(answers[0]!));
    });
  }
  for (const { target, reason } of everywhere ? absent : []) skip(models, `${title}, on ${target.id}`, reason);
}

models.run();
