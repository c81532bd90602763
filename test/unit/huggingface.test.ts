import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { TensorSource } from '../../compiler/export/gguf.ts';
import { type HuggingFaceWeights, huggingFaceFiles, writeHuggingFace } from '../../compiler/export/huggingface.ts';
import { encodeTernary, FLOAT, isTernary } from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { verifyModel } from '../../compiler/ir/verify.ts';
import { architectureOf } from '../../compiler/models/index.ts';
import { packageRoot } from '../../package-root.ts';
import { bf16, f32, safetensorsBytes } from '../safetensors-bytes.ts';
import {
  type HfFamily,
  type HfWeights,
  hfConfig,
  hfFiles,
  hfTensors,
  SCALE,
  SIZES,
  ternary,
  writeFiles,
} from '../support/hf-folder.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const root = temporaryFolder('huggingface');
let folders = 0;
const write = (files: Parameters<typeof writeFiles>[1]) => writeFiles(join(root, `model-${folders++}`), files);

const ARCHITECTURES: Readonly<Record<HfFamily, string>> = {
  BitnetForCausalLM: 'bitnet',
  BitNetForCausalLM: 'bitnet-b1.58',
  LlamaForCausalLM: 'llama',
  Qwen3Model: 'qwen3',
  Gemma3TextModel: 'gemma3',
};
const FAMILIES = Object.keys(ARCHITECTURES) as HfFamily[];

for (const family of FAMILIES) {
  for (const style of ['divides', 'multiplies', 'masters'] as HfWeights[]) {
    test(`${family}, ${style}: names, codes and scales`, async () => {
      const ir = await importModel(write(hfFiles(family, style)));
      assert.is(ir.architecture, ARCHITECTURES[family]);
      verifyModel(ir, architectureOf(ir.architecture));
      await using source = await ModelSource.open(ir);
      for (const layer of [0, 1]) {
        for (const [name, rows, cols] of [
          ['attn_q', 32, 16],
          ['attn_k', 16, 16],
          ['ffn_down', 16, 32],
        ] as const) {
          const { codes, scale } = await source.ternary(`blk.${layer}.${name}.weight`);
          assert.equal(
            [...codes],
            Array.from({ length: rows * cols }, (_, n) => ternary(n, layer) + 1),
          );
          assert.is(scale, SCALE);
        }
      }
    });
  }
}

test('hyper-parameters come from config.json', async () => {
  const { hyper } = await importModel(write(hfFiles('BitNetForCausalLM')));
  assert.equal(hyper, {
    layers: 2,
    embedding: 16,
    ffn: 32,
    heads: 4,
    kvHeads: 2,
    headDim: 8,
    vocab: 12,
    context: 64,
    normEpsilon: 1e-5,
    activation: 'relu2',
    rope: { dimensions: 8, base: 500000, pairs: 'half', scaling: { kind: 'none' } },
  });
});

const changed = async (family: HfFamily, change: object): Promise<ModelIR> =>
  importModel(write({ ...hfFiles(family), 'config.json': { ...hfConfig(family, 'multiplies'), ...change } }));

test('hidden_act decides on the activation, and with BitNet on the architecture', async () => {
  const silu = await changed('BitNetForCausalLM', { hidden_act: 'silu' });
  assert.equal([silu.architecture, silu.hyper.activation], ['bitnet', 'silu']);
  const relu2 = await changed('BitnetForCausalLM', { hidden_act: 'relu2' });
  assert.equal([relu2.architecture, relu2.hyper.activation], ['bitnet-b1.58', 'relu2']);
  const llama = await changed('LlamaForCausalLM', { hidden_act: 'relu2' });
  assert.equal([llama.architecture, llama.hyper.activation], ['llama', 'relu2']);
});

test('without architectures the model type decides', async () => {
  assert.is((await changed('LlamaForCausalLM', { architectures: undefined })).architecture, 'llama');
  assert.is((await changed('Qwen3Model', { architectures: ['BitQwen3Model'] })).architecture, 'qwen3');
});

test('rope: its base, scaling and share of a head, in both forms of the configuration', async () => {
  const rope = async (change: object) => (await changed('LlamaForCausalLM', change)).hyper.rope;
  assert.equal((await rope({ rope_scaling: { type: 'linear', factor: 4 } })).scaling, { kind: 'linear', factor: 4 });
  assert.equal((await rope({ rope_scaling: { rope_type: 'default' } })).scaling, { kind: 'none' });
  const llama3 = { factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const { scaling } = await rope({ rope_scaling: { rope_type: 'llama3', ...llama3 } });
  // Wavelengths 2π · 500000^(i/4): 6.3, 167, 4443 and 118141 positions, bounds 2048 and 8192.
  assert.is(scaling.kind, 'factors');
  const factors = scaling.kind === 'factors' ? scaling.factors : [];
  assert.equal([factors[0], factors[1], factors[3]], [1, 1, 8]);
  const kept = (8192 / (2 * Math.PI * 500000 ** 0.5) - 1) / 3;
  assert.ok(Math.abs(factors[2]! - 1 / ((1 - kept) / 8 + kept)) < 1e-12);
  const five = { rope_theta: undefined, rope_parameters: { rope_theta: 700, rope_type: 'linear', factor: 2 } };
  assert.equal(await rope(five), { dimensions: 8, base: 700, pairs: 'half', scaling: { kind: 'linear', factor: 2 } });
  assert.is((await rope({ partial_rotary_factor: 0.5 })).dimensions, 4);
  assert.is((await rope({ rope_theta: undefined })).base, 10000);
});

test('Gemma: norms of its own are one more than stored, windows and scales come from the configuration', async () => {
  const ir = await importModel(write(hfFiles('Gemma3TextModel')));
  assert.is(ir.hyper.activation, 'gelu');
  assert.is(ir.hyper.attentionScale, 0.25);
  assert.equal(ir.hyper.window, { positions: 32, local: [true, false], ropeBase: 10000 });
  await using source = await ModelSource.open(ir);
  for (const name of ['attn_norm', 'attn_q_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm']) {
    assert.equal([...(await source.values(`blk.1.${name}.weight`)).subarray(0, 3)], [0.5, 0.75, 1], name);
  }
  assert.equal([...(await source.values('output_norm.weight')).subarray(0, 3)], [0.5, 0.75, 1]);
  assert.equal([...(await source.values('blk.1.attn_q_norm_in.weight')).subarray(0, 3)], [-0.5, -0.25, 0]);

  const nested = {
    layer_types: undefined,
    sliding_window_pattern: 2,
    rope_parameters: {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 5e5 },
      sliding_attention: { rope_theta: 777 },
    },
  };
  const { hyper } = await changed('Gemma3TextModel', nested);
  assert.equal(hyper.window, { positions: 32, local: [true, false], ropeBase: 777 });
  assert.equal(hyper.rope.scaling, { kind: 'linear', factor: 8 });
});

test('how an embedding model pools', async () => {
  const folder = write(hfFiles('Qwen3Model'));
  assert.is((await importModel(folder)).pooling, undefined);
  const settings = { pooling_mode_lasttoken: true, pooling_mode_mean_tokens: false, word_embedding_dimension: 16 };
  writeFiles(join(folder, '1_Pooling'), { 'config.json': settings });
  assert.is((await importModel(folder)).pooling, 'last');
});

test('the head: its own, tied, tied and saved too', async () => {
  const head = { 'lm_head.weight': bf16([SIZES.vocab, SIZES.hidden], new Float32Array(SIZES.vocab * SIZES.hidden)) };
  const tensors = safetensorsBytes({ ...hfTensors('LlamaForCausalLM', 'multiplies'), ...head });
  const names = async (tie: boolean | undefined) => {
    const config = { ...hfConfig('LlamaForCausalLM', 'multiplies'), tie_word_embeddings: tie };
    const { tensors: list } = await importModel(
      write({ ...hfFiles(), 'config.json': config, 'model.safetensors': tensors }),
    );
    return list.some(({ name }) => name === 'output.weight');
  };
  assert.is(await names(false), true);
  assert.is(await names(undefined), true);
  assert.is(await names(true), false);
});

test('constants that are saved with the weights are left out', async () => {
  const constants = { 'model.layers.0.self_attn.rotary_emb.inv_freq': f32([4], [1, 2, 3, 4]) };
  const tensors = safetensorsBytes({ ...hfTensors('BitNetForCausalLM', 'multiplies'), ...constants });
  const ir = await importModel(write({ ...hfFiles(), 'model.safetensors': tensors }));
  verifyModel(ir, architectureOf(ir.architecture));
});

/** The model in two files. */
function sharded(): Record<string, object | Buffer> {
  const { 'model.safetensors': _, ...files } = hfFiles();
  const entries = Object.entries(hfTensors('BitNetForCausalLM', 'multiplies'));
  const parts = [entries.slice(0, 20), entries.slice(20)];
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
  const weight_map = Object.fromEntries(parts.flatMap((part, i) => part.map(([name]) => [name, names[i]])));
  return {
    ...files,
    'model.safetensors.index.json': { metadata: { total_size: 1 }, weight_map },
    [names[0]!]: safetensorsBytes(Object.fromEntries(parts[0]!)),
    [names[1]!]: safetensorsBytes(Object.fromEntries(parts[1]!)),
  };
}

test('several files give what one gives', async () => {
  const one = await importModel(write(hfFiles()));
  const two = await importModel(write(sharded()));
  assert.is(two.source.files.length, 2);
  assert.equal(two.hyper, one.hyper);
  await using ofOne = await ModelSource.open(one);
  await using ofTwo = await ModelSource.open(two);
  assert.equal(two.tensors.map(({ name }) => name).sort(), one.tensors.map(({ name }) => name).sort());
  for (const { name, encoding } of one.tensors) {
    if (isTernary(encoding)) assert.equal(await ofTwo.ternary(name), await ofOne.ternary(name));
    else assert.equal(await ofTwo.values(name), await ofOne.values(name));
  }
});

test('a file in place of its folder, and one of several files refused', async () => {
  const folder = write(hfFiles());
  const ir = await importModel(join(folder, 'model.safetensors'));
  assert.equal(ir.tensors, (await importModel(folder)).tensors);
  const part = join(write(sharded()), 'model-00001-of-00002.safetensors');
  assert.match((await refusal(() => importModel(part))).message, 'one of several files');
});

test("links of Hugging Face's cache are followed, and the repository gives the name", async () => {
  const cache = join(root, 'hub', 'models--some--tiny-model');
  const snapshot = join(cache, 'snapshots', '0123456789abcdef');
  mkdirSync(snapshot, { recursive: true });
  const files = hfFiles();
  writeFiles(join(cache, 'blobs'), Object.fromEntries(Object.values(files).map((file, i) => [`blob${i}`, file])));
  for (const [i, name] of Object.keys(files).entries()) {
    symlinkSync(join('..', '..', 'blobs', `blob${i}`), join(snapshot, name));
  }
  const ir = await importModel(snapshot);
  assert.is(ir.name, 'tiny-model');
  await using source = await ModelSource.open(ir);
  assert.is((await source.ternary('blk.0.attn_q.weight')).scale, SCALE);
});

test('masters are quantised by their mean where the configuration or --force says that they are masters', async () => {
  const masters = (noise: number, settings: Record<string, unknown> = {}) => {
    const tensors = hfTensors('LlamaForCausalLM', 'masters');
    const values = Float32Array.from({ length: 32 * 16 }, (_, n) => ternary(n) + noise * ((n % 5) - 2));
    tensors['model.layers.0.self_attn.q_proj.weight'] = f32([32, 16], values);
    const config = { ...hfConfig('LlamaForCausalLM', 'masters'), ...settings };
    return {
      values,
      folder: write({ ...hfFiles(), 'config.json': config, 'model.safetensors': safetensorsBytes(tensors) }),
    };
  };
  const undeclared = masters(0.3, { quantization_config: undefined });
  await using unsure = await ModelSource.open(await importModel(undeclared.folder));
  const refusal = await unsure.ternary('blk.0.attn_q.weight').catch((error: Error) => error.message);
  assert.match(String(refusal), /different magnitudes, where ternary weights have one scale/);
  await using forced = await ModelSource.open(await importModel(undeclared.folder, { force: true }));
  const { values, folder } = masters(0.3);
  await using source = await ModelSource.open(await importModel(folder));
  const { codes, scale } = await source.ternary('blk.0.attn_q.weight');
  assert.equal((await forced.ternary('blk.0.attn_q.weight')).codes, codes);
  const mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
  assert.ok(Math.abs(scale / mean - 1) < 1e-6);
  assert.equal(
    [...codes],
    Array.from(values, (value) => Math.max(-1, Math.min(1, Math.round(value / mean))) + 1),
  );
});

test('real numbers beside packed weights are no masters, nor are those that the configuration excepts', async () => {
  const values = Float32Array.from({ length: 32 * 16 }, (_, n) => ternary(n) + 0.3 * ((n % 5) - 2));
  const tensors = hfTensors('LlamaForCausalLM', 'divides');
  tensors['model.layers.0.self_attn.q_proj.weight'] = f32([32, 16], values);
  delete tensors['model.layers.0.self_attn.q_proj.weight_scale'];
  const config = (style: HfWeights, change: object) => {
    const { quantization_config: own, ...rest } = hfConfig('LlamaForCausalLM', style);
    return { ...rest, quantization_config: { ...(own as object), ...change } };
  };
  const mixed = { ...hfFiles('LlamaForCausalLM'), 'config.json': config('divides', {}) };
  const folder = write({ ...mixed, 'model.safetensors': safetensorsBytes(tensors) });
  await using source = await ModelSource.open(await importModel(folder));
  assert.match((await refusal(() => source.ternary('blk.0.attn_q.weight'))).message, 'different magnitudes');

  const masters = (modules_to_not_convert: unknown) => ({
    ...hfFiles('LlamaForCausalLM', 'masters'),
    'config.json': config('masters', { modules_to_not_convert }),
  });
  for (const names of [null, ['lm_head'], ['lm_head', 'k_pro']]) await importModel(write(masters(names)));
  for (const name of ['k_proj', 'model.layers.1', 'model.layers.0.mlp.up_proj']) {
    const error = await refusal(() => importModel(write(masters(['lm_head', name]))));
    assert.match(error.message, /stays real numbers: modules_to_not_convert names it/, name);
  }
});

test('float weights with a weight_scale beside them are scaled by it', async () => {
  const tensors = hfTensors('BitNetForCausalLM', 'masters');
  tensors['model.layers.1.mlp.up_proj.weight_scale'] = f32([], [3]);
  const files = { ...hfFiles(), 'model.safetensors': safetensorsBytes(tensors) };
  await using source = await ModelSource.open(await importModel(write(files)));
  assert.is((await source.ternary('blk.1.ffn_up.weight')).scale, 3 * SCALE);
});

/** Everything of a model as tensors to write, packed. */
function packedTensors(ir: ModelIR, source: ModelSource): TensorSource[] {
  return ir.tensors.flatMap(({ name, shape, encoding }): TensorSource[] => {
    if (!isTernary(encoding)) {
      const data = async function* () {
        yield FLOAT.f32.encode(await source.values(name));
      };
      return [{ name, shape, encoding: 'f32', data }];
    }
    const codes = async function* () {
      const { codes } = await source.ternary(name);
      yield encodeTernary('hf_u8', codes, 1, shape);
    };
    const scale = async function* () {
      yield FLOAT.f32.encode(Float32Array.of((await source.ternary(name)).scale));
    };
    return [
      { name, shape, encoding: 'hf_u8', data: codes },
      { name: name.replace('.weight', '.scale'), shape: [1], encoding: 'f32', data: scale },
    ];
  });
}

async function assertSame(ir: ModelIR, back: ModelIR): Promise<void> {
  assert.equal([back.name, back.architecture], [ir.name, ir.architecture]);
  assert.equal(back.hyper, ir.hyper);
  assert.equal(back.tokenizer, ir.tokenizer);
  assert.equal(back.tensors.map(({ name }) => name).sort(), ir.tensors.map(({ name }) => name).sort());
  await using expected = await ModelSource.open(ir);
  await using actual = await ModelSource.open(back);
  for (const { name, encoding } of ir.tensors) {
    if (isTernary(encoding)) assert.equal(await actual.ternary(name), await expected.ternary(name), name);
    else assert.equal(await actual.values(name), await expected.values(name), name);
  }
}

const written: Record<string, string> = {
  'the default model': join(packageRoot(), 'models', 'storyteller-25m-i2_s.gguf'),
  'a GGUF model with SiLU': join(packageRoot(), 'test', 'fixtures', 'bitnet-silu-tq1.gguf'),
  ...Object.fromEntries(FAMILIES.map((family) => [family, write(hfFiles(family))])),
};
for (const [title, path] of Object.entries(written)) {
  test(`${title}, written as a folder, comes back as it was`, async () => {
    const ir = await importModel(path);
    const folder = join(root, `written-${title.replaceAll(' ', '-')}`);
    await using source = await ModelSource.open(ir);
    await writeHuggingFace(folder, ir, packedTensors(ir, source));
    await assertSame(ir, await importModel(folder));
  });
}

test('the configuration says how the weights are stored', async () => {
  const ir = await importModel(write(hfFiles()));
  const config = (weights: HuggingFaceWeights) =>
    JSON.parse(huggingFaceFiles(ir, weights).get('config.json') as string).quantization_config;
  assert.equal(config('packed'), {
    quant_method: 'bitnet',
    linear_class: 'autobitlinear',
    quantization_mode: 'offline',
  });
  assert.equal(config('masters'), {
    quant_method: 'bitnet',
    linear_class: 'autobitlinear',
    quantization_mode: 'online',
  });
  assert.is(config('plain'), undefined);
});

test("Llama 3's factors become its parameters again, others are refused", async () => {
  const llama3 = { factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 };
  const scaling = { rope_type: 'llama3', ...llama3 };
  const ir = await changed('LlamaForCausalLM', { rope_scaling: scaling });
  assert.equal(JSON.parse(huggingFaceFiles(ir, 'packed').get('config.json') as string).rope_scaling, scaling);
  const odd = {
    ...ir,
    hyper: { ...ir.hyper, rope: { ...ir.hyper.rope, scaling: { kind: 'factors', factors: [1, 2, 3, 4] } } },
  };
  assert.match((await refusal(() => huggingFaceFiles(odd as ModelIR, 'packed'))).message, 'rope factors');
});

test('a matrix whose rows cannot be packed is refused', async () => {
  const ir = await importModel(write(hfFiles()));
  const ragged = { name: 'blk.0.attn_q.weight', shape: [30, 16], encoding: 'hf_u8' as const, data: () => [] };
  assert.match((await refusal(() => writeHuggingFace(join(root, 'ragged'), ir, [ragged]))).message, '30 rows');
});

test('JSON with a byte order mark is read, as some editors write it', async () => {
  const folder = write(hfFiles());
  writeFileSync(join(folder, 'config.json'), `\ufeff${JSON.stringify(hfConfig('BitNetForCausalLM', 'multiplies'))}`);
  assert.is((await importModel(folder)).architecture, 'bitnet-b1.58');
});

test.run();
