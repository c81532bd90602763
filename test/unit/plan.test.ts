import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { needsBarrier, type Plan, type Step } from '../../compiler/ir/plan.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { type Sketch, sketch } from '../support/model-ir.ts';

const RAGGED: Sketch = {
  architecture: 'llama',
  embedding: 100,
  ffn: 90,
  heads: 3,
  kvHeads: 3,
  headDim: 24,
  headEncoding: 'bf16',
};
const QWEN: Sketch = { architecture: 'qwen3', embedding: 72, ffn: 90, headDim: 40, inputNorms: true };
const GEMMA: Sketch = {
  ...QWEN,
  architecture: 'gemma3',
  window: { positions: 8, local: [true, false], ropeBase: 100 },
  attentionScale: 0.25,
};
const MODELS: Readonly<Record<string, Sketch>> = {
  plain: {},
  ragged: RAGGED,
  qwen3: QWEN,
  gemma3: GEMMA,
  'gemma3 without input norms': { ...GEMMA, inputNorms: false, window: undefined },
  'wide ffn': { ffn: 4096 },
  'wide attention': { heads: 32, headDim: 64, kvHeads: 32 },
  scaled: { scaleTensors: true },
};

const plan = suite('plan');

/** Which buffers a step reads and writes, from what abi.h and the steps' own descriptions say. */
function uses(step: Step): { reads: string[]; writes: string[] } {
  switch (step.op) {
    case 'embed':
      return { reads: [], writes: [step.out, step.angles, ...(step.localAngles ? [step.localAngles] : [])] };
    case 'norm':
      return { reads: [step.input, ...(step.accumulate ? [step.out] : [])], writes: [step.out] };
    case 'norm_quantise':
    case 'gated_quantise':
      return { reads: [step.input], writes: [step.q, step.quant] };
    case 'bitlinear':
      return { reads: [step.q, step.quant, ...(step.accumulate ? [step.out] : [])], writes: [step.out] };
    case 'rope_store':
      return { reads: [step.qkv, step.angles, ...(step.localAngles ? [step.localAngles] : [])], writes: [step.qkv] };
    case 'attention':
      return { reads: [step.qkv], writes: [step.out] };
    case 'final_norm':
      return { reads: [step.input], writes: [step.out] };
    case 'head':
      return { reads: [step.input], writes: [] };
  }
}

/** The steps between one barrier and the next: threads may be at any of them. */
function runs(steps: readonly Step[]): Step[][] {
  const all: Step[][] = [];
  let run: Step[] = [];
  steps.forEach((step, i) => {
    run.push(step);
    if (!needsBarrier(step, steps[i + 1])) return;
    all.push(run);
    run = [];
  });
  assert.equal(run, [], 'the last step has a barrier');
  return all;
}

/**
 * Runs the plan of a model on names alone: every write marks the bytes of its buffer as holding that buffer, and a read
 * must find its own mark.
 */
function assertNothingIsOverwritten({ prologue, layer, epilogue, buffers, workspaceBytes }: Plan): void {
  const owner = new Array<string | undefined>(workspaceBytes);
  const place = (name: string) => buffers.find((buffer) => buffer.name === name)!;
  const check = (step: Step) => {
    const { reads, writes } = uses(step);
    for (const name of [...reads, ...writes]) assert.ok(place(name), `${step.op} uses ${name}, which has no place`);
    for (const name of reads) {
      const { offset, bytes } = place(name);
      for (let at = offset; at < offset + bytes; at++) {
        if (owner[at] !== name) assert.unreachable(`${step.op} reads ${name}, but ${owner[at]} was written over it`);
      }
    }
    for (const name of writes) owner.fill(name, place(name).offset, place(name).offset + place(name).bytes);
  };
  for (const run of [prologue, layer, layer, layer, epilogue].flatMap(runs)) {
    for (const step of run) check(step);
    // What any step of a run writes must lie apart from all that the others touch.
    const touched = [...new Set(run.flatMap((step) => Object.values(uses(step)).flat()))];
    for (const name of new Set(run.flatMap((step) => uses(step).writes))) {
      const { offset, bytes } = place(name);
      for (const other of touched.filter((candidate) => candidate !== name)) {
        const rival = place(other);
        assert.ok(offset + bytes <= rival.offset || rival.offset + rival.bytes <= offset, `${name} lies on ${other}`);
      }
    }
  }
}

for (const [name, model] of Object.entries(MODELS)) {
  plan(`no step of a ${name} model overwrites what a later one reads`, () => {
    const planned = planModel(sketch(model));
    assertNothingIsOverwritten(planned);
    for (const { offset, bytes } of planned.buffers) {
      assert.is(offset % 64, 0);
      assert.is(bytes % 64, 0);
      assert.ok(offset + bytes <= planned.workspaceBytes);
    }
  });

  plan(`the packed tensors of a ${name} model lie side by side, aligned to 64 bytes`, () => {
    const { weights, hyper } = planModel(sketch(model));
    for (const [tensors, end] of [
      [weights.shared, weights.layerBase] as const,
      [weights.layer, weights.layerBytes] as const,
    ]) {
      let at = 0;
      for (const { name, offset, bytes } of tensors) {
        assert.is(offset, Math.ceil(at / 64) * 64, name);
        at = offset + bytes;
      }
      assert.is(Math.ceil(at / 64) * 64, end);
    }
    assert.is(weights.bytes, weights.layerBase + hyper.layers * weights.layerBytes);
  });
}

plan('buffers share places where they can', () => {
  const { buffers, workspaceBytes } = planModel(sketch({ ffn: 4096 }));
  assert.ok(workspaceBytes < buffers.reduce((sum, { bytes }) => sum + bytes, 0));
});

plan('projections that share their input become one matrix, each part of whole row groups', () => {
  const { layer, weights } = planModel(sketch(RAGGED));
  const linears = layer.filter((step) => step.op === 'bitlinear');
  assert.equal(
    linears.map(({ use, m, k, accumulate }) => ({ use, m, k, accumulate })),
    [
      { use: 'qkv', m: 240, k: 100, accumulate: false },
      { use: 'attn_output', m: 112, k: 72, accumulate: true },
      { use: 'gate_up', m: 192, k: 100, accumulate: false },
      { use: 'down', m: 112, k: 90, accumulate: true },
    ],
  );
  const gateUp = weights.layer.find(({ name }) => name === 'gate_up')!;
  assert.ok(gateUp.kind === 'codes');
  assert.equal(gateUp.parts, [
    { tensor: 'ffn_gate.weight', scaleTensor: null, rows: 90, firstRow: 0 },
    { tensor: 'ffn_up.weight', scaleTensor: null, rows: 90, firstRow: 96 },
  ]);
  assert.is(gateUp.bytes, (192 * 112) / 4);
});

plan('the activation, the norms and the rotation follow from the architecture', () => {
  const summary = (architecture: string) => {
    const { layer, hyper } = planModel(sketch({ architecture }));
    const ropePairs = hyper.rope.pairs;
    const gate = layer.find((step) => step.op === 'gated_quantise')!;
    const norms = layer.flatMap((step) => (step.op === 'norm_quantise' ? [step.norm] : []));
    return { activation: gate.activation, gateNorm: gate.norm, norms, ropePairs };
  };
  const withSubNorms = {
    norms: ['attn_norm', 'attn_sub_norm', 'ffn_norm'],
    gateNorm: 'ffn_sub_norm',
    ropePairs: 'half',
  };
  assert.equal(summary('bitnet'), { ...withSubNorms, activation: 'silu' });
  assert.equal(summary('bitnet-b1.58'), { ...withSubNorms, activation: 'relu2' });
  assert.equal(summary('bitnet-25'), { ...withSubNorms, activation: 'relu2' });
  const llama = {
    norms: ['attn_norm', null, 'ffn_norm'],
    gateNorm: null,
    ropePairs: 'interleaved',
    activation: 'silu',
  };
  assert.equal(summary('llama'), llama);
});

const ops = (steps: readonly Step[]) =>
  steps.map((step) => {
    if (step.op === 'bitlinear')
      return `${step.out}[${step.row}] ${step.accumulate ? '+=' : '='} ${step.use} ${step.q}`;
    if (step.op === 'norm') return `${step.out} ${step.accumulate ? '+=' : '='} ${step.norm} ${step.input}`;
    if (step.op === 'norm_quantise') return `${step.q} = ${step.norm} ${step.input}`;
    return step.op;
  });

plan('a norm before each projection keeps projections apart, and costs no barrier', () => {
  const { layer } = planModel(sketch(GEMMA));
  assert.equal(ops(layer), [
    'normed = attn_norm x',
    'query_q = attn_q_norm_in normed',
    'key_q = attn_k_norm_in normed',
    'value_q = attn_v_norm_in normed',
    'qkv[0] = query query_q',
    'qkv[160] = key key_q',
    'qkv[240] = value value_q',
    'rope_store',
    'attention',
    'q = attn_output_norm_in attended',
    'projected[0] = attn_output q',
    'x += post_attention_norm projected',
    'normed = ffn_norm x',
    'gate_q = ffn_gate_norm_in normed',
    'up_q = ffn_up_norm_in normed',
    'gate_up[0] = gate gate_q',
    'gate_up[96] = up up_q',
    'gated_quantise',
    'projected[0] = down q',
    'x += post_ffw_norm projected',
  ]);
  const gate = layer.find((step) => step.op === 'gated_quantise')!;
  assert.equal([gate.norm, gate.activation], ['ffn_down_norm_in', 'gelu']);
  assert.equal(
    runs(layer).map((run) => run.length),
    [4, 3, 1, 1, 1, 1, 4, 2, 1, 1, 1],
  );
});

plan('without them projections are one matrix, norms of heads and of residuals stay', () => {
  const { layer, prologue } = planModel(sketch({ ...GEMMA, inputNorms: false }));
  assert.equal(ops(layer), [
    'q = attn_norm x',
    'qkv[0] = qkv q',
    'rope_store',
    'attention',
    'q = null attended',
    'projected[0] = attn_output q',
    'x += post_attention_norm projected',
    'q = ffn_norm x',
    'gate_up[0] = gate_up q',
    'gated_quantise',
    'projected[0] = down q',
    'x += post_ffw_norm projected',
  ]);
  const rope = layer.find((step) => step.op === 'rope_store')!;
  assert.equal([rope.queryNorm, rope.keyNorm], ['attn_q_norm', 'attn_k_norm']);
  const [embed] = prologue;
  assert.ok(embed?.op === 'embed' && embed.scale === Math.fround(Math.sqrt(72)));
});

plan('local layers have angles and a window of their own', () => {
  const local = planModel(sketch(GEMMA));
  assert.equal(local.localFrequencies?.slice(0, 2), [1, 100 ** (-2 / 40)]);
  assert.is(local.layer.find((step) => step.op === 'attention')!.window, 8);
  assert.is(local.layer.find((step) => step.op === 'rope_store')!.localAngles, 'local_angles');
  const everywhere = planModel(sketch(QWEN));
  assert.is(everywhere.localFrequencies, null);
  assert.is(everywhere.layer.find((step) => step.op === 'attention')!.window, null);
  assert.not(everywhere.buffers.some(({ name }) => name === 'local_angles'));
});

plan('the norms of a layer are packed in the order of the steps that read them', () => {
  const names = planModel(sketch(GEMMA)).weights.layer.flatMap(({ name, kind }) => (kind === 'vector' ? [name] : []));
  assert.equal(names, [
    'attn_norm',
    'attn_q_norm_in',
    'attn_k_norm_in',
    'attn_v_norm_in',
    'attn_q_norm',
    'attn_k_norm',
    'attn_output_norm_in',
    'post_attention_norm',
    'ffn_norm',
    'ffn_gate_norm_in',
    'ffn_up_norm_in',
    'ffn_down_norm_in',
    'post_ffw_norm',
  ]);
});

plan('a head of its own is packed beside the embedding, a tied one is not', () => {
  const names = (model: Sketch) => planModel(sketch(model)).weights.shared.map(({ name }) => name);
  assert.equal(names({}), ['embedding', 'output_norm']);
  assert.equal(names({ headEncoding: 'f32' }), ['embedding', 'head', 'output_norm']);
});

plan('a scale tensor that only one of the layers has is not forgotten', () => {
  const ir = sketch({ scaleTensors: true });
  for (const layer of [0, 1]) {
    const missing = `blk.${layer}.attn_k.scale`;
    const half: ModelIR = { ...ir, tensors: ir.tensors.filter(({ name }) => name !== missing) };
    const qkv = planModel(half).weights.layer.find(({ name }) => name === 'qkv')!;
    assert.ok(qkv.kind === 'codes' && qkv.parts[1].scaleTensor === 'attn_k.scale', missing);
  }
});

plan('rotary frequencies fall from 1, and take the scaling in', () => {
  const frequencies = (rope: Sketch['rope']) => planModel(sketch({ rope: { dimensions: 8, ...rope } })).ropeFrequencies;
  const plainOnes = [1, 0.1, 0.01, 0.001];
  const close = (a: readonly number[], b: readonly number[]) => {
    assert.is(a.length, b.length);
    a.forEach((value, i) => {
      assert.ok(Math.abs(value / b[i] - 1) < 1e-12, `${a} and ${b}`);
    });
  };
  close(frequencies({}), plainOnes);
  close(
    frequencies({ scaling: { kind: 'linear', factor: 4 } }),
    plainOnes.map((f) => f / 4),
  );
  close(
    frequencies({ scaling: { kind: 'factors', factors: [1, 2, 4, 8] } }),
    plainOnes.map((f, i) => f / 2 ** i),
  );
});

plan('a plan is plain data, printable as JSON', () => {
  const planned = planModel(sketch());
  assert.equal(JSON.parse(JSON.stringify(planned)), planned);
});

plan.run();
