import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ModelIR, TensorIR } from '../../compiler/ir/model.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';

/** The model with some of its tensors changed; null takes one away. */
function changed(name: string, change: Partial<TensorIR> | null, model: ModelIR = sketch()): ModelIR {
  assert.ok(
    model.tensors.some((tensor) => tensor.name === name),
    name,
  );
  const tensors = model.tensors.flatMap((tensor) => {
    if (tensor.name !== name) return [tensor];
    return change === null ? [] : [{ ...tensor, ...change }];
  });
  return { ...model, tensors };
}

const message = async (model: ModelIR) => (await refusal(() => planModel(model))).message;

test('a whole model is let through, in each architecture', () => {
  for (const architecture of ['bitnet', 'bitnet-b1.58', 'bitnet-25', 'llama', 'qwen3', 'gemma3']) {
    planModel(sketch({ architecture }));
  }
  for (const architecture of ['qwen3', 'gemma3']) planModel(sketch({ architecture, inputNorms: true }));
});

test('every tensor that is missing is named', async () => {
  const whole = sketch();
  for (const { name } of whole.tensors) {
    assert.is(await message(changed(name, null)), `tensor ${name} is missing`);
  }
});

test('a tensor too many is named', async () => {
  const extra: TensorIR = { name: 'blk.0.attn_q.bias', shape: [64], encoding: 'f32', file: 0, offset: 0, bytes: 256 };
  const model = sketch();
  assert.match(
    await message({ ...model, tensors: [...model.tensors, extra] }),
    /tensor blk\.0\.attn_q\.bias is not part/,
  );
});

test('a sub-norm in an architecture without them is one too many', async () => {
  assert.match(
    await message({ ...sketch(), architecture: 'llama' }),
    /tensor blk\.0\.attn_sub_norm\.weight is not part/,
  );
});

test('norms before the projections are all there or none', async () => {
  const whole = sketch({ architecture: 'gemma3', inputNorms: true });
  for (const { name } of whole.tensors)
    assert.is(await message(changed(name, null, whole)), `tensor ${name} is missing`);
  const one = whole.tensors.find(({ name }) => name === 'blk.1.ffn_up_norm_in.weight')!;
  const plain = sketch({ architecture: 'gemma3' });
  const error = await refusal(() => planModel({ ...plain, tensors: [...plain.tensors, one] }));
  assert.is(error.message, 'tensor blk.0.attn_q_norm_in.weight is missing');
  assert.match(error.hint!, /before every projection of every layer, or before none/);
  assert.match(await message({ ...whole, architecture: 'llama' }), /tensor blk\.0\.attn_q_norm\w*\.weight is not part/);
});

test('norms of heads and residuals are asked for, and refused where they have no place', async () => {
  const gemma = sketch({ architecture: 'gemma3' });
  assert.match(await message({ ...gemma, architecture: 'qwen3' }), /blk\.0\.post_attention_norm\.weight is not part/);
  const qwen = sketch({ architecture: 'qwen3' });
  assert.is(await message({ ...qwen, architecture: 'gemma3' }), 'tensor blk.0.post_attention_norm.weight is missing');
  assert.match(
    await message(changed('blk.0.attn_q_norm.weight', { shape: [64] }, qwen)),
    /attn_q_norm\.weight has shape \[64\], but \[16\]/,
  );
});

test('layers beyond the last are too many, and one less is missed', async () => {
  const model = sketch();
  const withLayers = (layers: number) => ({ ...model, hyper: { ...model.hyper, layers } });
  assert.match(await message(withLayers(1)), /tensor blk\.1\.\w+\.weight is not part/);
  assert.match(await message(withLayers(3)), /tensor blk\.2\.\w+\.weight is missing/);
});

test('a wrong shape is shown beside the right one', async () => {
  const error = await message(changed('blk.1.ffn_down.weight', { shape: [128, 64] }));
  assert.is(error, 'tensor blk.1.ffn_down.weight has shape [128 × 64], but [64 × 128] is expected');
  assert.match(await message(changed('output_norm.weight', { shape: [65] })), /output_norm\.weight has shape \[65\]/);
});

test('linears must be ternary, and nothing else may be', async () => {
  assert.match(await message(changed('blk.0.attn_k.weight', { encoding: 'f16' })), /blk\.0\.attn_k\.weight .* ternary/);
  assert.match(await message(changed('token_embd.weight', { encoding: 'tq2_0' })), /token_embd\.weight .* float/);
});

test('vectors must be stored unpacked', async () => {
  const error = await message(changed('blk.0.ffn_norm.weight', { encoding: 'q8_0' }));
  assert.match(error, /blk\.0\.ffn_norm\.weight .* q8_0; vectors must be f32, f16 or bf16/);
});

test('an architecture that is not known is refused with the list of those that are', async () => {
  const error = await refusal(() => planModel({ ...sketch(), architecture: 'mamba' }));
  assert.match(error.message, /'mamba' is not supported/);
  assert.match(error.hint!, /bitnet-b1\.58.*llama/);
});

test.run();
