import { ftruncateSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { importModel } from '../../compiler/import/index.ts';
import { ModelSource } from '../../compiler/import/source.ts';
import { bf16, f32, safetensorsBytes, type TensorBytes } from '../safetensors-bytes.ts';
import { hfConfig, hfFiles, hfTensors, TOKENIZER, writeFiles } from '../support/hf-folder.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const root = temporaryFolder('bad-huggingface');
let folders = 0;
const write = (files: Record<string, object | Buffer>) => writeFiles(join(root, `model-${folders++}`), files);
const without = (name: string) => {
  const { [name]: _, ...files } = hfFiles();
  return files;
};
const refuses = async (files: Record<string, object | Buffer>, message: RegExp, hint?: RegExp) => {
  const error = await refusal(() => importModel(write(files)));
  assert.match(error.message, message);
  if (hint) assert.match(error.hint ?? '', hint);
};

test('a file that is missing is named, and what lies there instead', async () => {
  await refuses(without('config.json'), /config\.json is missing/, /hyper-parameters/);
  await refuses(without('tokenizer.json'), /neither tokenizer\.json nor tokenizer\.model/, /Download the tokenizer/);
  const bare = without('model.safetensors');
  await refuses(bare, /neither model\.safetensors nor model\.safetensors\.index\.json/);
  await refuses({ ...bare, 'pytorch_model.bin': Buffer.from('x') }, /neither/, /safe_serialization/);
  await refuses(
    { ...bare, 'model-i2_s.gguf': Buffer.from('x') },
    /neither/,
    /Give the GGUF file itself: .*model-i2_s\.gguf/,
  );
  await refuses(
    { ...bare, 'other.safetensors': Buffer.from('x') },
    /neither/,
    /Give the file itself: .*other\.safetensors/,
  );
  assert.match((await refusal(() => importModel(join(root, 'nowhere')))).message, 'cannot read');
  await refuses({ 'model-i2_s.gguf': Buffer.from('x') }, /config\.json is missing/, /Give the GGUF file itself/);
});

const CONFIGS: Record<string, [change: object, message: RegExp, hint?: RegExp]> = {
  'an unknown class': [
    { architectures: ['GptForCausalLM'], model_type: 'gpt' },
    /"architectures" is "GptForCausalLM"/,
    /LlamaForCausalLM/,
  ],
  'a class for another task': [{ architectures: ['LlamaForSequenceClassification'] }, /LlamaForSequenceClassification/],
  'no class and no type': [{ architectures: [], model_type: undefined }, /"architectures" is ""/],
  'an unknown activation': [{ hidden_act: 'gelu' }, /"hidden_act" is "gelu", which is not supported/, /relu2, silu/],
  'an activation of JavaScript': [{ hidden_act: 'constructor' }, /"hidden_act" is "constructor"/],
  'no activation': [{ hidden_act: undefined }, /"hidden_act" is missing/],
  yarn: [
    { rope_scaling: { rope_type: 'yarn', factor: 4 } },
    /"rope_scaling\.rope_type" is "yarn"/,
    /default, linear and llama3/,
  ],
  'dynamic scaling': [{ rope_scaling: { type: 'dynamic', factor: 4 } }, /"rope_scaling\.type" is "dynamic"/],
  'Llama 3 scaling without a factor': [{ rope_scaling: { rope_type: 'llama3' } }, /"rope_scaling\.factor" is missing/],
  'a rope of no dimensions': [{ partial_rotary_factor: 0.01 }, /"partial_rotary_factor" is 0\.01/],
  'no rope base': [{ rope_theta: undefined }, /"rope_theta" is missing/],
  'a rope base of 0': [{ rope_theta: 0 }, /"rope_theta" is 0/],
  'attention biases': [{ attention_bias: true }, /"attention_bias" is true/],
  softcapping: [{ final_logit_softcapping: 30 }, /"final_logit_softcapping" is 30/],
  'weights of two bits': [{ weight_bits: 2 }, /"weight_bits" is 2/],
  'sliding windows': [
    { layer_types: ['sliding_attention', 'full_attention'] },
    /"layer_types" has "sliding_attention"/,
  ],
  'another quantisation': [
    { quantization_config: { quant_method: 'gptq' } },
    /"quantization_config\.quant_method" is "gptq"/,
  ],
  'norms in linears': [
    { quantization_config: { quant_method: 'bitnet', use_rms_norm: true } },
    /use_rms_norm" is true/,
  ],
  'an unknown linear': [{ quantization_config: { quant_method: 'bitnet', linear_class: 'x' } }, /linear_class" is "x"/],
  'packed weights of unknown meaning': [
    { quantization_config: undefined },
    /weight_scale is there, but config\.json does not say/,
  ],
  'packed weights that are quantised anew': [
    { quantization_config: { quant_method: 'bitnet', linear_class: 'autobitlinear', quantization_mode: 'online' } },
    /weight_scale is there, but config\.json does not say/,
  ],
  'no layers': [{ num_hidden_layers: 0 }, /"num_hidden_layers" is 0, not an integer from 1 to 4096/],
  'a million layers': [{ num_hidden_layers: 1e6 }, /"num_hidden_layers" is 1000000/],
  'a size that is a text': [{ hidden_size: '16' }, /"hidden_size" is "16"/],
  'heads that do not divide': [{ num_key_value_heads: 3 }, /"num_key_value_heads" is 3, which does not divide/],
  'odd heads': [{ head_dim: 7 }, /"head_dim" is 7, an odd number/],
  'heads of no size': [
    { head_dim: undefined, num_attention_heads: 6, num_key_value_heads: 2 },
    /does not divide the hidden size 16/,
  ],
  'other rows than in the file': [
    { intermediate_size: 64 },
    /gate_proj\.weight has the shape \[8 × 16\], not a quarter of 64 rows/,
  ],
  'no epsilon': [{ rms_norm_eps: undefined }, /"rms_norm_eps" is missing/],
  'an untied head that is not there': [{ tie_word_embeddings: false }, /lm_head\.weight is missing/],
  'an id that is no token': [{ eos_token_id: 'x' }, /"eos_token_id" is not the id of a token/],
};
for (const [title, [change, message, hint]] of Object.entries(CONFIGS)) {
  test(`config.json refused: ${title}`, () =>
    refuses(
      { ...hfFiles(), 'config.json': { ...hfConfig('BitNetForCausalLM', 'multiplies'), ...change } },
      message,
      hint,
    ));
}

test('config.json that is damaged, a list or too large is refused', async () => {
  const text = Buffer.from(JSON.stringify(hfConfig('BitNetForCausalLM', 'multiplies')));
  for (let length = text.length - 1; length >= 0; length -= 7) {
    await refuses({ ...hfFiles(), 'config.json': text.subarray(0, length) }, /config\.json is not JSON/);
  }
  await refuses({ ...hfFiles(), 'config.json': [] }, /does not hold a JSON object/);
  const folder = write(hfFiles());
  ftruncateSync(openSync(join(folder, 'config.json'), 'r+'), 2 ** 30);
  assert.match((await refusal(() => importModel(folder))).message, '1073741824 bytes, more than');
  rmSync(join(folder, 'config.json'));
  writeFiles(join(folder, 'config.json'), {});
  assert.match((await refusal(() => importModel(folder))).message, 'config.json');
});

const Q = 'model.layers.0.self_attn.q_proj.weight';
const TENSORS: Record<string, [tensors: Record<string, TensorBytes | undefined>, message: RegExp]> = {
  'a bias': [{ 'model.layers.0.self_attn.q_proj.bias': f32([32], new Float32Array(32)) }, /q_proj\.bias is a bias/],
  'an unknown tensor': [
    { 'model.layers.0.extra.weight': f32([1], [1]) },
    /extra\.weight is not part of architecture 'bitnet-b1\.58'/,
  ],
  'a norm inside a linear': [
    { [`${Q.replace('.weight', '')}.rms_norm.weight`]: f32([16], new Float32Array(16)) },
    /rms_norm\.weight is not part/,
  ],
  'a tensor under two names': [
    { 'layers.0.input_layernorm.weight': f32([16], new Float32Array(16)) },
    /input_layernorm\.weight is there twice/,
  ],
  'no weight_scale': [{ [`${Q}_scale`]: undefined }, /q_proj\.weight is packed, but has no weight_scale/],
  'a scale of zero': [{ [`${Q}_scale`]: f32([1], [0]) }, /weight_scale is 0, which is no scale/],
  'a negative scale': [{ [`${Q}_scale`]: f32([1], [-1]) }, /weight_scale is -1/],
  'a scale that is not a number': [{ [`${Q}_scale`]: f32([1], [Number.NaN]) }, /weight_scale is NaN/],
  'an infinite scale': [{ [`${Q}_scale`]: bf16([1], [Number.POSITIVE_INFINITY]) }, /weight_scale is Infinity/],
  'a scale for each row': [
    { [`${Q}_scale`]: f32([32], new Float32Array(32).fill(1)) },
    /weight_scale is not a single value/,
  ],
  'packed weights of another shape': [
    { [Q]: { dtype: 'U8', shape: [16, 8], data: Buffer.alloc(128) } },
    /not a quarter of 32 rows/,
  ],
  'packed weights of one dimension': [
    { [Q]: { dtype: 'U8', shape: [128], data: Buffer.alloc(128) } },
    /not a quarter of 32 rows/,
  ],
  'weights of another type': [{ [Q]: { dtype: 'I8', shape: [32, 16], data: Buffer.alloc(512) } }, /type I8/],
  'a packed norm': [
    { 'model.norm.weight': { dtype: 'U8', shape: [16], data: Buffer.alloc(16) } },
    /model\.norm\.weight has the type U8/,
  ],
};
for (const [title, [change, message]] of Object.entries(TENSORS)) {
  test(`tensors refused: ${title}`, () => {
    const all = { ...hfTensors('BitNetForCausalLM', 'multiplies'), ...change };
    const tensors = Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, TensorBytes] => !!entry[1]),
    );
    return refuses({ ...hfFiles(), 'model.safetensors': safetensorsBytes(tensors) }, message);
  });
}

test('codes that are not ternary, and masters that are far from it, are refused when they are read', async () => {
  const codes = { [Q]: { dtype: 'U8', shape: [8, 16], data: Buffer.alloc(128, 0xff) } };
  const masters = {
    [Q]: f32(
      [32, 16],
      Float32Array.from({ length: 512 }, (_, n) => Math.sin(n) * 3 ** (n % 7)),
    ),
  };
  for (const change of [codes, masters] as Record<string, TensorBytes>[]) {
    const tensors = safetensorsBytes({ ...hfTensors('BitNetForCausalLM', 'multiplies'), ...change });
    const ir = await importModel(write({ ...hfFiles(), 'model.safetensors': tensors }));
    await using source = await ModelSource.open(ir);
    assert.match((await refusal(() => source.ternary('blk.0.attn_q.weight'))).message, 'blk.0.attn_q.weight');
  }
});

const NAMES = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;

/** The model in two files, the index to be changed. */
function sharded(change: (map: Record<string, unknown>) => void): Record<string, object | Buffer> {
  const entries = Object.entries(hfTensors('BitNetForCausalLM', 'multiplies'));
  const parts = [entries.slice(0, 20), entries.slice(20)];
  const map = Object.fromEntries(parts.flatMap((part, i) => part.map(([name]) => [name, NAMES[i] as unknown])));
  change(map);
  return {
    ...without('model.safetensors'),
    'model.safetensors.index.json': { weight_map: map },
    [NAMES[0]]: safetensorsBytes(Object.fromEntries(parts[0]!)),
    [NAMES[1]]: safetensorsBytes(Object.fromEntries(parts[1]!)),
  };
}

test('an index that says otherwise than the files is refused', async () => {
  await importModel(write(sharded(() => {})));
  const first = 'model.embed_tokens.weight';
  const wrong = sharded((map) => {
    map[first] = NAMES[1];
  });
  await refuses(wrong, /lacks the tensor "model\.embed_tokens\.weight", which .* places there/);
  await refuses(
    sharded((map) => delete map[first]),
    /holds the tensor "model\.embed_tokens\.weight"/,
  );
  const more = sharded((map) => {
    map['model.more.weight'] = NAMES[0];
  });
  await refuses(more, /lacks the tensor "model\.more\.weight"/);
  const { [NAMES[1]]: _, ...missing } = sharded(() => {});
  await refuses(missing, /the file model-00002-of-00002\.safetensors, which .* lists, is missing/, /Download it again/);
  await refuses({ ...sharded(() => {}), 'model.safetensors.index.json': {} }, /"weight_map" is missing/);
  await refuses({ ...sharded(() => {}), 'model.safetensors.index.json': { weight_map: {} } }, /"weight_map" is empty/);
  await refuses({ ...sharded(() => {}), 'model.safetensors.index.json': { weight_map: [] } }, /"weight_map" is \[\]/);
});

test('an index cannot lead out of the folder', async () => {
  const outside = join(root, 'outside.safetensors');
  writeFileSync(outside, safetensorsBytes({ 'model.embed_tokens.weight': f32([1], [1]) }));
  const paths = [
    '../outside.safetensors',
    outside,
    'a/b.safetensors',
    '..',
    '',
    'a\\b.safetensors',
    '.x.safetensors',
    5,
    null,
    [NAMES[0]],
  ];
  for (const path of paths) {
    const files = sharded((map) => {
      map['model.embed_tokens.weight'] = path;
    });
    await refuses(files, path === null ? /does not place there|not the name/ : /not the name of a \.safetensors file/);
  }
});

test('a truncated file of tensors is refused', async () => {
  const folder = write(hfFiles());
  const file = openSync(join(folder, 'model.safetensors'), 'r+');
  ftruncateSync(file, 4000);
  assert.match((await refusal(() => importModel(folder))).message, 'not a valid SafeTensors file');
});

const TOKENIZERS: Record<string, [change: object, message: RegExp]> = {
  'no model': [{ model: undefined }, /"model" is missing/],
  Unigram: [{ model: { type: 'Unigram', vocab: [['a', 0]] } }, /"model\.type" is "Unigram"/],
  WordPiece: [{ model: { type: 'WordPiece', vocab: { a: 0 } } }, /"model\.type" is "WordPiece"/],
  'no vocabulary': [{ model: { ...TOKENIZER.model, vocab: undefined } }, /"model\.vocab" is missing/],
  'no merges': [{ model: { ...TOKENIZER.model, merges: [] } }, /"model\.merges" is missing or empty/],
  'a merge of one': [{ model: { ...TOKENIZER.model, merges: ['a b', 'c'] } }, /"model\.merges" has an entry 1/],
  'a merge of three': [{ model: { ...TOKENIZER.model, merges: [['a', 'b', 'c']] } }, /"model\.merges" has an entry 0/],
  'a merge with a space': [{ model: { ...TOKENIZER.model, merges: [['a b', 'c']] } }, /"model\.merges" has an entry 0/],
  'merges of numbers': [{ model: { ...TOKENIZER.model, merges: [1] } }, /"model\.merges" has an entry 0/],
  'an id twice': [{ model: { ...TOKENIZER.model, vocab: { a: 0, b: 0 } } }, /"b" has the id 0 of "a"/],
  'an id past the table': [{ model: { ...TOKENIZER.model, vocab: { a: 2 ** 40 } } }, /embedding table has 12 rows/],
  'an id that is no integer': [{ model: { ...TOKENIZER.model, vocab: { a: 0.5 } } }, /"a" has the id 0\.5/],
  'a negative id': [{ model: { ...TOKENIZER.model, vocab: { a: -1 } } }, /"a" has the id -1/],
  dropout: [{ model: { ...TOKENIZER.model, dropout: 0.1 } }, /"model\.dropout" is not 0/],
  'suffixes of words': [
    { model: { ...TOKENIZER.model, end_of_word_suffix: '</w>' } },
    /end_of_word_suffix" is "<\/w>"/,
  ],
  'lower case': [{ normalizer: { type: 'Lowercase' } }, /"normalizer" is .*Lowercase/],
  'another pre-tokenizer': [{ pre_tokenizer: { type: 'Whitespace' } }, /"pre_tokenizer" is none that we know/],
  'no pre-tokenizer': [{ pre_tokenizer: null }, /"pre_tokenizer" is none that we know: null/],
  'another regular expression': [
    {
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          { type: 'Split', pattern: { Regex: '.' }, behavior: 'Isolated' },
          { type: 'ByteLevel', use_regex: false },
        ],
      },
    },
    /is none that we know/,
  ],
  'an added token of another id': [{ added_tokens: [{ id: 1, content: 'x' }] }, /"x" has the id 1 of "b"/],
  'an added token that is none': [{ added_tokens: [5] }, /"added_tokens" has an entry 0 that is not a token/],
  'an added token that strips': [{ added_tokens: [{ id: 9, content: 'x', rstrip: true }] }, /entry 0 that sets rstrip/],
  'a post-processor of another kind': [
    { post_processor: { type: 'BertProcessing' } },
    /"post_processor" is .*BertProcessing/,
  ],
  'a template with two ends': [
    {
      post_processor: {
        type: 'TemplateProcessing',
        single: [{ Sequence: {} }, { SpecialToken: { id: 'a' } }, { SpecialToken: { id: 'b' } }],
      },
    },
    /"post_processor" is/,
  ],
  'a template with an unknown token': [
    { post_processor: { type: 'TemplateProcessing', single: [{ SpecialToken: { id: 'zz' } }, { Sequence: {} }] } },
    /adds "zz", which is no token/,
  ],
};
for (const [title, [change, message]] of Object.entries(TOKENIZERS)) {
  test(`tokenizer.json refused: ${title}`, () =>
    refuses({ ...hfFiles(), 'tokenizer.json': { ...TOKENIZER, ...change } }, message));
}

test('tokenizer.model that is damaged or of another kind is refused', async () => {
  const files = without('tokenizer.json');
  const piece = (text: string) =>
    Buffer.concat([Buffer.from([10, text.length + 2, 10, text.length]), Buffer.from(text)]);
  const trainer = (type: number) => Buffer.from([18, 2, 24, type]);
  const asIs = Buffer.from([26, 2, 32, 0]);
  const good = Buffer.concat([piece('a'), piece('b'), piece('c'), trainer(2), asIs]);
  await importModel(write({ ...files, 'tokenizer.model': good }));
  const BAD: [bytes: Buffer, message: RegExp][] = [
    [Buffer.concat([piece('a'), trainer(1), asIs]), /of the kind unigram/],
    [Buffer.concat([piece('a'), asIs]), /of the kind unigram/],
    [Buffer.concat([piece('a'), trainer(2)]), /removes extra spaces/],
    [Buffer.concat([piece('a'), trainer(2), Buffer.from([26, 5, 18, 1, 0, 32, 0])]), /changes characters/],
    [Buffer.concat([trainer(2), asIs]), /vocabulary is empty/],
    [Buffer.concat([...'abcdefghijklm'].map(piece).concat(trainer(2), asIs)), /embedding table has 12 rows/],
    [Buffer.from('{"not": "protobuf"}'), /not a SentencePiece model/],
    [Buffer.from([10, 2, 24, 9]), /a piece has the type 9/],
    [Buffer.from([10, 5, 21, 0, 0, 0xc0, 0x7f, 18, 2, 24, 2, ...asIs]), /score NaN/],
    [Buffer.from([10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]), /more than 64 bits/],
    [Buffer.from([10, 255, 255, 255, 255, 15]), /past the end/],
  ];
  for (const [bytes, message] of BAD) await refuses({ ...files, 'tokenizer.model': bytes }, message);
  for (let length = good.length - 1; length >= 0; length--) {
    assert.ok(await refusal(() => importModel(write({ ...files, 'tokenizer.model': good.subarray(0, length) }))));
  }
});

test.run();
