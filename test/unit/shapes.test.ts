import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SHAPES, shapeByName, shapeModel, synthesize } from '../../bench/shapes/index.ts';
import {
  decodeTernary,
  FLOAT,
  type FloatEncodingName,
  type TernaryEncodingName,
} from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { BitnetError } from '../../errors.ts';
import { withEnvironment } from '../support/environment.ts';

const folder = mkdtempSync(join(tmpdir(), 'bitnet-shapes-'));
const path = join(folder, 'model.gguf');

const shapes = suite('shapes');
shapes.after(() => rmSync(folder, { recursive: true }));

for (const headEncoding of Object.keys(FLOAT) as FloatEncodingName[]) {
  shapes(`synthesises a ${headEncoding} head`, async () => {
    await synthesize(shapeByName('tiny'), path, { headEncoding });
    const model = await importModel(path);
    const { encoding, offset, bytes, shape } = model.tensors.find(({ name }) => name === 'token_embd.weight')!;
    assert.is(encoding, headEncoding);
    const out = new Float32Array(shape[0]! * shape[1]!);
    FLOAT[headEncoding].decode(readFileSync(path).subarray(offset, offset + bytes), out);
    const mean = out.reduce((sum, value) => sum + value, 0) / out.length;
    const deviation = Math.sqrt(out.reduce((sum, value) => sum + value * value, 0) / out.length);
    // Q4_0 reaches from -8 to 7: uniform nibbles are half a step below zero.
    assert.ok(Math.abs(mean) < 0.02, `mean ${mean}`);
    assert.ok(deviation > 0.14 && deviation < 0.18, `deviation ${deviation}`);
  });
}

for (const ternary of ['i2_s', 'tq1_0', 'tq2_0'] as TernaryEncodingName[]) {
  shapes(`synthesises ${ternary} linears`, async () => {
    await synthesize(shapeByName('tiny'), path, { ternary, layers: 1 });
    const file = readFileSync(path);
    const model = await importModel(path);
    const linears = model.tensors.filter(({ encoding }) => encoding === ternary);
    assert.is(linears.length, 7);
    for (const { name, shape, offset, bytes } of linears) {
      const count = shape[0]! * shape[1]!;
      const { codes, scale } = decodeTernary(ternary, file.subarray(offset, offset + bytes), shape, {
        byteOrder: 'little',
      });
      const counts = [0, 0, 0];
      for (const code of codes) counts[code]!++;
      assert.ok(
        counts.every((n) => Math.abs(n / count - 1 / 3) < 0.02),
        `${name}: ${counts}`,
      );
      assert.ok(Math.abs((scale * Math.sqrt(shape[1]!)) / 1.2 - 1) < 0.101, `${name}: scale ${scale}`);
    }
  });
}

shapes('every shape makes a model of its sizes', async () => {
  for (const [name, shape] of Object.entries(SHAPES)) {
    // One slim layer: the hyper-parameters are what is looked at.
    await synthesize({ ...shape, ffn: 256 }, path, { layers: 1, vocab: 300, headEncoding: 'f16' });
    const model = await importModel(path);
    const { architecture, hyper, tensors, tokenizer } = model;
    assert.is(architecture, shape.architecture, name);
    assert.equal(
      [hyper.embedding, hyper.heads, hyper.kvHeads, hyper.headDim, hyper.vocab],
      [shape.embedding, shape.heads, shape.kvHeads, shape.headDim, 300],
      name,
    );
    assert.is(hyper.rope.base, shape.ropeBase);
    assert.is(
      tensors.some((tensor) => tensor.name === 'output.weight'),
      !shape.tied,
    );
    planModel(model); // it has the tensors of its architecture, and no others
    assert.is(tokenizer.tokens.length, 300);
    assert.is(new Set(tokenizer.tokens).size, 300);
  }
});

shapes('the vocabulary is that of its merges', async () => {
  await synthesize(shapeByName('tiny'), path, { layers: 1, vocab: 2000 });
  const { tokens, merges, types, bos, eos } = (await importModel(path)).tokenizer;
  assert.is(merges.length, 2000 - 258);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  for (const [rank, merge] of merges.entries()) {
    const [left, right] = merge.split(' ') as [string, string];
    assert.is(ids.get(left + right), 256 + rank);
    assert.ok(ids.get(left)! < 256 + rank && ids.get(right)! < 256);
  }
  assert.equal([tokens[bos!], tokens[eos!]], ['<|begin_of_text|>', '<|end_of_text|>']);
  assert.equal([types[0], types[bos!], types[eos!]], [1, 3, 3]);
});

shapes('same seed, same file', async () => {
  const digest = async (seed: number) => {
    await synthesize(shapeByName('tiny'), path, { seed, layers: 1 });
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  };
  const first = await digest(5);
  assert.is(await digest(5), first);
  assert.is.not(await digest(6), first);
});

shapes('reports progress up to all of it', async () => {
  const reports: [number, number][] = [];
  await synthesize(shapeByName('tiny'), path, { onProgress: (bytes, total) => reports.push([bytes, total]) });
  assert.ok(reports.every(([bytes], i) => i === 0 || bytes >= reports[i - 1]![0]));
  assert.is(reports.at(-1)![0], reports.at(-1)![1]);
});

shapes('refuses shapes, vocabularies and encodings that cannot be', async () => {
  const refused = async (work: () => Promise<unknown>, message: RegExp) => {
    try {
      await work();
    } catch (error) {
      assert.instance(error, BitnetError);
      return assert.match((error as BitnetError).message, message);
    }
    return assert.unreachable('it should have been refused');
  };
  await refused(() => shapeModel('gpt5'), /no shape "gpt5"/);
  await refused(() => shapeModel('constructor'), /no shape/);
  await refused(() => synthesize(shapeByName('tiny'), path, { vocab: 257 }), /less than 258/);
  await refused(() => synthesize(shapeByName('3b'), path, { ternary: 'tq2_0' }), /do not fill whole tq2_0 blocks/);
});

shapes('keeps models in the cache, complete', async () => {
  await withEnvironment({ BITNET_CACHE: join(folder, 'cache') }, async () => {
    const model = await shapeModel('tiny');
    assert.ok(model.startsWith(join(folder, 'cache')));
    const { mtimeMs } = statSync(model);
    assert.is(await shapeModel('tiny'), model);
    assert.is(statSync(model).mtimeMs, mtimeMs);
    assert.is(readdirSync(join(folder, 'cache', 'shapes')).length, 1);
    assert.is((await importModel(model)).hyper.layers, 2);
    assert.ok(existsSync(model));
  });
});

shapes.run();
