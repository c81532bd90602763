import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { needsBarrier } from '../../compiler/ir/plan.ts';
import { parseKernelConfig } from '../../compiler/kernels/config.ts';
import { sectionsOf } from '../../compiler/passes/choose-kernels.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { readingOf } from '../../runtime/src/bytes-read.ts';
import { sketch } from '../support/model-ir.ts';

const skipping = suite('skipping zeros');

const linears = (ir: ModelIR, request = {}) => planModel(ir, request).layer.filter((step) => step.op === 'bitlinear');

skipping('gate, up and down of a relu2 model: the gate is computed first, and all threads wait for it', () => {
  const ir = sketch({ ffn: 120 });
  const steps = linears(ir).slice(2);
  assert.equal(
    steps.map(({ use, layout, skips, m, row, tile }) => ({ use, layout, skips, m, row, tile })),
    [
      { use: 'gate', layout: 'i2_r16c16', skips: undefined, m: 128, row: 0, tile: undefined },
      { use: 'up', layout: 'i2_r1c256', skips: 'rows', m: 128, row: 128, tile: undefined },
      { use: 'down', layout: 'i2_r256c1', skips: 'columns', m: 64, row: 0, tile: undefined },
    ],
  );
  assert.ok(needsBarrier(steps[0], steps[1]));
});

skipping('projections with norms of their own keep their own activations', () => {
  const ir = sketch({ architecture: 'qwen3', inputNorms: true });
  const [gate, up] = linears({ ...ir, hyper: { ...ir.hyper, activation: 'relu2' } }).slice(4);
  assert.equal([gate.use, gate.q, gate.skips], ['gate', 'gate_q', undefined]);
  assert.equal([up.use, up.q, up.skips], ['up', 'up_q', 'rows']);
});

skipping('nothing is skipped where that is not wanted, and where the activation makes no zeros', () => {
  const ir = sketch();
  const silu: ModelIR = { ...ir, hyper: { ...ir.hyper, activation: 'silu' } };
  for (const steps of [linears(ir, { skipZeros: false }), linears(silu), linears(silu, { skipZeros: true })]) {
    assert.equal(
      steps.map(({ use, skips }) => [use, skips]),
      ['qkv', 'attn_output', 'gate_up', 'down'].map((use) => [use, undefined]),
    );
  }
});

skipping('the other matrices keep the kernel that was asked for, and its tiles come back', () => {
  const ir = sketch({ embedding: 128, heads: 4, kvHeads: 2, headDim: 32, ffn: 192 });
  const plan = planModel(ir, { kernel: 'tl2' });
  const layouts = plan.layer.flatMap((step) => (step.op === 'bitlinear' ? [[step.use, step.layout]] : []));
  assert.equal(layouts, [
    ['qkv', 'tl2_r16c96'],
    ['attn_output', 'tl2_r16c96'],
    ['gate', 'tl2_r16c96'],
    ['up', 'i2_r1c256'],
    ['down', 'i2_r256c1'],
  ]);
  const sections = sectionsOf(ir, plan);
  assert.equal(
    sections.map(({ m, k }) => [m, k]),
    [
      [128, 128],
      [64, 128],
      [192, 128],
    ],
  );
  const text = sections.map(
    ({ name, m, k, BM, BK, bm }) => `[${name}]\nm = ${m}\nk = ${k}\nbm = ${BM}\nbk = ${BK}\nbmm = ${bm}\n`,
  );
  const again = planModel(ir, { kernel: 'tl2', config: parseKernelConfig(text.join('\n'), 'again.ini') });
  assert.equal(again.weights, plan.weights);
  assert.equal(sectionsOf(ir, again), sections);
});

skipping('bytes read: a row of up for each closed gate, a column of down for each zero', () => {
  const model = { layers: 2, ffn: 50 } as Parameters<typeof readingOf>[0]['model'];
  const manifest = { bytesPerToken: 100_000, skips: { rowBytes: 640, columnBytes: 320 }, model };
  const counts = { steps: 4, zeros: 200, zeroColumns: 240, screened: 0, rows: 0, screenBytes: 0, headBytes: 0 };
  const whole = { screenedTokens: 0, rowsPerScreenedToken: 0 };
  const spared = (200 * 640 + 240 * 320) / 4;
  assert.equal(readingOf(manifest, counts), { bytesPerToken: 100_000 - spared, zeros: 0.6, ...whole });
  const none = { bytesPerToken: 100_000, zeros: 0, ...whole };
  assert.equal(readingOf(manifest, { ...counts, steps: 0 }), none);
  const unskipped = { bytesPerToken: 100_000, skips: undefined, model };
  assert.equal(readingOf(unskipped, { ...counts, zeros: 0, zeroColumns: 0 }), none);
  const screened = {
    steps: 4,
    zeros: 0,
    zeroColumns: 0,
    screened: 3,
    rows: 12,
    screenBytes: 30_000,
    headBytes: 90_000,
  };
  const head = { screenedTokens: 3, rowsPerScreenedToken: 4 };
  assert.equal(readingOf(unskipped, screened), { bytesPerToken: 85_000, zeros: 0, ...head });
});

skipping.run();
