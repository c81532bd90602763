import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../bench/shapes/random.ts';
import { FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { targets } from '../../targets/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { type Compiled, compileFor, logitsOf } from '../support/logits.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { rowsOnWebGl } from '../support/webgl.ts';

/** A tied head, of rows that whole blocks of every encoding fill, and of no round number of them. */
const MODEL: Description = {
  architecture: 'bitnet-b1.58',
  embedding: 512,
  ffn: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 32,
  layers: 1,
  ropeBase: 10_000,
  epsilon: 1e-5,
  vocab: 331,
  context: 64,
  embeddingEncoding: 'f16',
  seed: 110,
};
const ENCODINGS = Object.keys(FLOAT) as FloatEncodingName[];
const BLOCKS = ENCODINGS.filter((encoding) => FLOAT[encoding].blockValues > 1);

const { beds, absent } = await testBeds();
const heads = suite('encodings of the head');
const folder = temporaryFolder('heads');
const { file } = synthetic(MODEL);
const path = join(folder, 'model.gguf');
writeFileSync(path, file);
const random = new Random(1);
const tokens = Array.from({ length: 21 }, () => random.integer(MODEL.vocab));

/** Float32 logits as bytes, in steps of so many tokens. */
async function logitBytes(model: Compiled, name: string, chunk: number): Promise<Buffer> {
  const rows = await logitsOf(model, tokens, join(folder, name), { chunk });
  return Buffer.concat(rows.map((row) => new Uint8Array(row.slice().buffer)));
}

/** The first bed's, `ref`: all others must give the same. */
const expected = new Map<string, Buffer>();

for (const bed of beds) {
  const plain = bed === beds[0] ? (['f32', 'f16'] as const) : [];
  for (const head of [...plain, ...BLOCKS]) {
    heads(
      `${head} on ${bed.target.id}: the same logits, bit for bit, on every target and in steps of any size`,
      async () => {
        const model = await compileFor(bed, path, folder, { head });
        for (const chunk of [1, 2, 3, 7, 21]) {
          const bytes = await logitBytes(model, `${bed.target.id}-${head}-${chunk}`, chunk);
          if (!expected.has(head)) expected.set(head, bytes);
          assert.ok(bytes.equals(expected.get(head)!), `in steps of ${chunk}`);
        }
      },
    );
  }
}
heads('webgl: the same logits, bit for bit, with a head of any encoding', async () => {
  for (const head of ['f32', 'f16', ...BLOCKS] as const) {
    const { logits } = await rowsOnWebGl(path, folder, tokens, { head });
    const bytes = Buffer.concat(logits.map((row) => new Uint8Array(row.buffer)));
    assert.ok(bytes.equals(expected.get(head)!), head);
  }
});
for (const { target, reason } of absent) skip(heads, `heads on ${target.id}`, reason);

heads('the head is encoded anew, the embedding it was tied to is left as it is', async () => {
  const [bed] = beds;
  const tied = await compileFor(bed, path, folder);
  const table = ({ weights, manifest }: Compiled, name: string) => {
    const [{ tensors }] = Object.values(manifest.weights);
    const tensor = tensors.find((candidate) => candidate.name === name);
    if (!tensor) return undefined;
    const { offset, bytes, encoding } = tensor;
    return { encoding, bytes: readFileSync(weights).subarray(offset, offset + bytes) };
  };
  const embedding = table(tied, 'embedding')!;
  assert.is(table(tied, 'head'), undefined);
  const values = new Float32Array(MODEL.vocab * MODEL.embedding);
  FLOAT.f16.decode(embedding.bytes, values);
  for (const head of ['f16', ...BLOCKS] as const) {
    const model = await compileFor(bed, path, folder, { head });
    assert.ok(table(model, 'embedding')!.bytes.equals(embedding.bytes));
    const own = table(model, 'head');
    if (head === 'f16') {
      assert.is(own, undefined);
      assert.is(model.weights, tied.weights);
      continue;
    }
    assert.is(own!.encoding, head);
    assert.ok(own!.bytes.equals(FLOAT[head].encode(values)));
    assert.is(model.manifest.model.tiedHead, false);
    const whole = Object.values(model.manifest.weights)[0].bytes;
    assert.is(model.manifest.bytesPerToken, whole - embedding.bytes.length);
  }
});

heads('a head of float32 gives what the float16 table gives', async () => {
  assert.ok(expected.get('f32')!.equals(expected.get('f16')!));
  assert.not(expected.get('q4_0')!.equals(expected.get('f16')!));
});

heads.before(() => assert.is(beds[0].target.id, targets[0].id));
heads.run();
