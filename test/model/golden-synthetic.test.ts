import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { skip, testBeds } from '../support/beds.ts';
import { assertLogits, compileFor, logitsOf } from '../support/logits.ts';
import { oracleLogits } from '../support/oracle.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { rowsOnWebGl } from '../support/webgl.ts';

/** Small models with what the fixtures lack. */
const MODELS: Readonly<Record<string, Description>> = {
  'a Q6_K head of its own, one KV head, part of each head rotating by linear scaling, ragged ffn': {
    architecture: 'llama',
    embedding: 256,
    ffn: 90,
    layers: 2,
    heads: 6,
    kvHeads: 1,
    headDim: 40,
    vocab: 99,
    ropeBase: 10000,
    ropeDimensions: 24,
    ropeLinear: 4,
    epsilon: 1e-5,
    embeddingEncoding: 'q8_0',
    headEncoding: 'q6_k',
    seed: 101,
  },
  'scale tensors, rope factors, an embedding of 100, a BF16 head of its own, heads of 24': {
    architecture: 'bitnet-25',
    embedding: 100,
    ffn: 224,
    layers: 2,
    heads: 8,
    kvHeads: 4,
    headDim: 24,
    vocab: 131,
    ropeBase: 500000,
    ropeFactors: Array.from({ length: 12 }, (_, i) => 1 + i / 2),
    epsilon: 1e-6,
    embeddingEncoding: 'f16',
    headEncoding: 'bf16',
    scaleTensors: true,
    seed: 102,
  },
  'a big-endian file, a tied Q4_0 head, heads of 20 that do not fill a row group, ragged ffn': {
    architecture: 'bitnet',
    embedding: 96,
    ffn: 148,
    layers: 2,
    heads: 4,
    kvHeads: 4,
    headDim: 20,
    vocab: 67,
    ropeBase: 10000,
    epsilon: 1e-5,
    embeddingEncoding: 'q4_0',
    byteOrder: 'big',
    seed: 103,
  },
};

const { beds, absent } = await testBeds();
const models = suite('synthetic models');
const folder = temporaryFolder('synthetic');

for (const [title, model] of Object.entries(MODELS)) {
  for (const bed of beds) {
    const first = bed === beds[0];
    models(`${title}, on ${bed.target.id}${first ? ', and on webgl the same' : ''}`, async () => {
      const { file, weights } = synthetic(model);
      const path = join(folder, `${model.seed}.gguf`);
      writeFileSync(path, file);
      const random = new Random(model.seed);
      const tokens = Array.from({ length: 37 }, () => random.integer(model.vocab));
      const compiled = await compileFor(bed, path, folder);
      const logits = await logitsOf(compiled, tokens, join(folder, `${model.seed}-${bed.target.id}`));
      assertLogits(logits, oracleLogits(model, weights, tokens));
      if (first) assert.equal((await rowsOnWebGl(path, folder, tokens)).logits, logits);
    });
  }
  for (const { target, reason } of absent) skip(models, `${title}, on ${target.id}`, reason);
}

models.run();
