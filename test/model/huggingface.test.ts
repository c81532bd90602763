import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { writeWeights } from '../../compiler/build/weights.ts';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { renderSources, type Source } from '../../compiler/render/index.ts';
import { packageRoot } from '../../package-root.ts';
import { f32, packed, safetensorsBytes, type TensorBytes } from '../safetensors-bytes.ts';
import { type Bed, testBeds } from '../support/beds.ts';
import { writeFiles } from '../support/hf-folder.ts';
import { assertLogits, compileFor, logitsOf } from '../support/logits.ts';
import { temporaryFolder } from '../support/temporary.ts';

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const folder = temporaryFolder('hf-models');
const { beds } = await testBeds();
/** Every machine has it, and it is built the fastest. */
const bed = beds.find(({ target }) => target.id === 'ref') as Bed;

interface Form {
  readonly config: object;
  /** Names of a layer's modules: those of the sub-norms differ. */
  readonly subNorms: readonly [attention: string, ffn: string];
  /** A ternary matrix: its tensors, by what is added to the module's name. */
  matrix(rows: number, cols: number, weights: Float32Array, scale: number): Record<string, TensorBytes>;
}

const FORMS: Readonly<Record<string, Form>> = {
  'b158-i2s': {
    config: {
      architectures: ['BitNetForCausalLM'],
      hidden_act: 'relu2',
      quantization_config: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'offline' },
    },
    subNorms: ['self_attn.attn_sub_norm', 'mlp.ffn_sub_norm'],
    matrix: (rows, cols, weights, scale) => ({ weight: packed(rows, cols, weights), weight_scale: f32([1], [scale]) }),
  },
  'bitnet-silu-tq1': {
    config: { architectures: ['BitnetForCausalLM'], model_type: 'llama', hidden_act: 'silu', weight_bits: 1 },
    subNorms: ['self_attn.inner_attn_ln', 'mlp.ffn_layernorm'],
    matrix: (rows, cols, weights, scale) => ({
      weight: f32(
        [rows, cols],
        weights.map((weight) => weight * scale),
      ),
    }),
  },
  'llama-tq2': {
    config: {
      architectures: ['LlamaForCausalLM'],
      hidden_act: 'silu',
      quantization_config: { quant_method: 'bitnet' },
    },
    subNorms: ['', ''],
    matrix: (rows, cols, weights, scale) => ({
      weight: packed(rows, cols, weights),
      weight_scale: f32([1], [1 / scale]),
    }),
  },
};

const MODULES: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  ffn_norm: 'post_attention_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};

/** Rows of GGUF's llama, whose pairs are neighbours, as Hugging Face has them: each head's first of pairs, then the second. */
function inHalves(weights: Float32Array, headDim: number, cols: number): Float32Array {
  const moved = new Float32Array(weights.length);
  for (let row = 0; row * cols < weights.length; row++) {
    const within = row % headDim;
    const to = row - within + (within % 2) * (headDim / 2) + (within >> 1);
    moved.set(weights.subarray(row * cols, (row + 1) * cols), to * cols);
  }
  return moved;
}

/** A GGUF model's numbers as a Hugging Face folder. */
async function folderOf(model: string, form: Form): Promise<string> {
  const ir = await importModel(join(FIXTURES, `${model}.gguf`));
  const { hyper, tokenizer } = ir;
  await using source = await ModelSource.open(ir);
  const vector = async (name: string) => f32(source.tensor(name).shape, await source.values(name));
  const { encoding, shape: table } = source.tensor('token_embd.weight');
  const rows: Uint8Array[] = [];
  for await (const chunk of source.chunks('token_embd.weight')) rows.push(chunk);
  const tensors: Record<string, TensorBytes> = {
    'model.embed_tokens.weight': { dtype: encoding.toUpperCase(), shape: table, data: Buffer.concat(rows) },
    'model.norm.weight': await vector('output_norm.weight'),
  };
  for (const { name, shape } of ir.tensors) {
    const [, layer, module] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
    if (module === undefined) continue;
    const subNorm = { attn_sub_norm: form.subNorms[0], ffn_sub_norm: form.subNorms[1] }[module];
    const at = `model.layers.${layer}.${subNorm ?? MODULES[module]}`;
    if (shape.length === 1) {
      tensors[`${at}.weight`] = await vector(name);
      continue;
    }
    const [rows, cols] = shape as [number, number];
    const { codes, scale } = await source.ternary(name);
    const weights = Float32Array.from(codes, (code) => code - 1);
    const turned = hyper.rope.pairs === 'interleaved' && (module === 'attn_q' || module === 'attn_k');
    const placed = turned ? inHalves(weights, hyper.headDim, cols) : weights;
    for (const [suffix, tensor] of Object.entries(form.matrix(rows, cols, placed, scale)))
      tensors[`${at}.${suffix}`] = tensor;
  }
  return writeFiles(join(folder, model), {
    'config.json': {
      hidden_size: hyper.embedding,
      intermediate_size: hyper.ffn,
      num_hidden_layers: hyper.layers,
      num_attention_heads: hyper.heads,
      num_key_value_heads: hyper.kvHeads,
      vocab_size: hyper.vocab,
      max_position_embeddings: hyper.context,
      rms_norm_eps: hyper.normEpsilon,
      rope_theta: hyper.rope.base,
      tie_word_embeddings: true,
      ...form.config,
    },
    'tokenizer.json': {
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
      model: {
        type: 'BPE',
        vocab: Object.fromEntries(tokenizer.tokens.map((token, id) => [token, id])),
        merges: ['a b'],
      },
    },
    'model.safetensors': safetensorsBytes(tensors),
  });
}

const models = suite('Hugging Face models');

/** The program of a model, under a name that says nothing. */
function programOf(ir: ModelIR): readonly Source[] {
  const plan = planModel({ ...ir, name: 'model' });
  return renderSources(plan, bed.target, selectKernels(plan, bed.target));
}

for (const model of ['b158-i2s', 'bitnet-silu-tq1']) {
  models(`${model} as a folder is the program and the packed weights of the GGUF file, byte for byte`, async () => {
    const ours = await importModel(await folderOf(model, FORMS[model]!));
    const theirs = await importModel(join(FIXTURES, `${model}.gguf`));
    assert.equal(programOf(ours), programOf(theirs));
    const digests = [ours, theirs].map((ir, i) => writeWeights(ir, planModel(ir), join(folder, `${model}-${i}.bin`)));
    const [a, b] = await Promise.all(digests);
    assert.is(a, b);
  });
}

models('llama-tq2 as a folder gives the reference logits', async () => {
  const { tokens, logits } = JSON.parse(readFileSync(join(FIXTURES, 'llama-tq2.json'), 'utf8'));
  const compiled = await compileFor(bed, await folderOf('llama-tq2', FORMS['llama-tq2']!), folder);
  const actual = await logitsOf(compiled, tokens, join(folder, 'logits'));
  const all = new Float32Array(new Uint8Array(readFileSync(join(FIXTURES, logits))).buffer);
  const vocab = all.length / tokens.length;
  assertLogits(
    actual,
    actual.map((_, i) => all.subarray(i * vocab, (i + 1) * vocab)),
  );
});

models.run();
