import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { together } from '../../compiler/build/together.ts';
import { writeWeights } from '../../compiler/build/weights.ts';
import { FLOAT } from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import type { ModelIR, TensorIR } from '../../compiler/ir/model.ts';
import type { Plan } from '../../compiler/ir/plan.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { inOrder } from '../../compiler/threads/in-order.ts';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';
import { temporaryFolder } from '../support/temporary.ts';

const threads = suite('threads');
const folder = temporaryFolder('threads');
const ir = await importModel(join(packageRoot(), 'test', 'fixtures', 'b158-i2s.gguf'));
const plan = planModel(ir);

let files = 0;
const fresh = () => join(folder, `weights-${files++}.bin`);

/** The model with something else said of one of its tensors. */
function damaged(name: string, change: Partial<TensorIR>): ModelIR {
  return { ...ir, tensors: ir.tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor)) };
}

/** The plan with its table in another encoding than the file's, all after it moved. */
function withTable(encoding: 'q8_0'): Plan {
  const [table, ...rest] = plan.weights.shared;
  if (table.kind !== 'rows') throw new Error('the first tensor is no table');
  const { blockValues, blockBytes } = FLOAT[encoding];
  const bytes = ((table.rows * table.cols) / blockValues) * blockBytes;
  const moved = table.bytes - bytes;
  const shared = [
    { ...table, encoding, bytes },
    ...rest.map((tensor) => ({ ...tensor, offset: tensor.offset - moved })),
  ];
  const { layerBase, bytes: all } = plan.weights;
  return { ...plan, weights: { ...plan.weights, shared, layerBase: layerBase - moved, bytes: all - moved } };
}

for (const count of [1, 3]) {
  threads(`${count} of them pack what one does alone`, async () => {
    const [alone, shared] = [fresh(), fresh()];
    const digest = await writeWeights(ir, plan, alone, { threads: 0 });
    const fractions: number[] = [];
    const onProgress = (fraction: number) => fractions.push(fraction);
    assert.is(await writeWeights(ir, plan, shared, { threads: count, onProgress }), digest);
    assert.ok(readFileSync(alone).equals(readFileSync(shared)));
    assert.is(createHash('sha256').update(readFileSync(shared)).digest('hex'), digest);
    assert.equal(
      fractions,
      fractions.toSorted((a, b) => a - b),
    );
    assert.is(fractions.at(-1), 1);
  });
}

threads('rows are encoded anew where the plan has them in another encoding', async () => {
  const file = fresh();
  const recoded = withTable('q8_0');
  await writeWeights(ir, recoded, file, { threads: 2 });
  await using source = await ModelSource.open(ir);
  const expected = FLOAT.q8_0.encode(await source.values('token_embd.weight'));
  assert.ok(readFileSync(file).subarray(0, expected.length).equals(expected));
});

for (const count of [0, 2]) {
  threads(`with ${count}, an error names the tensor and is one for people`, async () => {
    const wrong = damaged('blk.1.ffn_down.weight', { offset: ir.source.files[0].bytes - 64 });
    const error = await writeWeights(wrong, plan, fresh(), { threads: count }).catch((reason) => reason);
    assert.instance(error, BitnetError);
    assert.match(error.message, /ended inside tensor blk\.1\.ffn_down\.weight/);
  });

  threads(`with ${count}, an error of the system is one`, async () => {
    const gone = { ...ir, source: { ...ir.source, files: [{ path: join(folder, 'none'), bytes: 1 }] } };
    const error = await writeWeights(gone, plan, fresh(), { threads: count }).catch((reason) => reason);
    assert.equal([error.code, error.syscall], ['ENOENT', 'open']);
  });

  threads(`with ${count}, an abort ends the work with its reason`, async () => {
    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error('enough'));
    const options = { threads: count, signal: stop.signal, onProgress };
    const error = await writeWeights(ir, plan, fresh(), options).catch((reason) => reason);
    assert.is(error.message, 'enough');
  });
}

threads('results come in the order of their items, few at a time', async () => {
  let [begun, taken, most] = [0, 0, 0];
  const begin = async (item: number) => {
    most = Math.max(most, ++begun - taken);
    await new Promise((resolve) => setTimeout(resolve, item % 3));
    return item;
  };
  const seen: number[] = [];
  for await (const item of inOrder([5, 4, 3, 2, 1, 0], 3, begin)) {
    seen.push(item);
    taken++;
  }
  assert.equal(seen, [5, 4, 3, 2, 1, 0]);
  assert.is(most, 3);
});

threads('of two works at once, the failure of one stops the other and is what is thrown', async () => {
  let stopped = false;
  const failing = async () => {
    throw new Error('first');
  };
  const patient = (signal: AbortSignal) =>
    new Promise<void>((_, reject) => {
      const end = () => {
        stopped = true;
        reject(new Error('second'));
      };
      if (signal.aborted) end();
      else signal.addEventListener('abort', end);
    });
  const error = await together(undefined, patient, failing).catch((reason) => reason);
  assert.is(error.message, 'first');
  assert.ok(stopped);
  assert.equal(
    await together(
      undefined,
      async () => 1,
      async () => 'two',
    ),
    [1, 'two'],
  );
});

threads.run();
