import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SHAPES } from '../../bench/shapes/index.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { formatKernelConfig, type KernelConfig, parseKernelConfig } from '../../compiler/kernels/config.ts';
import { type KernelKind, LAYOUTS } from '../../compiler/kernels/index.ts';
import { packedBytes } from '../../compiler/kernels/layout.ts';
import { defaultTableTile } from '../../compiler/kernels/table-tile.ts';
import { type KernelRequest, sectionsOf } from '../../compiler/passes/choose-kernels.ts';
import { planModel as planSkipping } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { packageRoot } from '../../package-root.ts';
import { targets } from '../../targets/index.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';

const PRESETS = join(packageRoot(), 'test', 'fixtures', 'kernel-configs');
const TABLE_KINDS = ['tl1', 'tl2'] as const;
const requests = suite('kernel requests');

const [target] = targets;

/** Here every matrix is to have the kernel that is asked for, those too that could be read in part. */
const planModel = (model: ModelIR, request: KernelRequest = {}) =>
  planSkipping(model, { ...request, skipZeros: false });

/** Sections as `[m, k, BM, BK, bm]`, in a file. */
const config = (...sections: readonly (readonly number[])[]): KernelConfig =>
  parseKernelConfig(
    formatKernelConfig(sections.map(([m, k, BM, BK, bm], i) => ({ name: `Kernels_${i}`, line: 0, m, k, BM, BK, bm }))),
    'folder/x.ini',
  );

/** Matrices of 128 × 128 (q, output), 64 × 128 (k, v), 192 × 128 (gate, up) and 128 × 192 (down). */
const ir = sketch({ embedding: 128, heads: 4, kvHeads: 2, headDim: 32, ffn: 192 });

function kernelsOf(model: ModelIR, request: KernelRequest) {
  return selectKernels(planModel(model, request), target).map(({ use, gemv, gemm }) => ({
    use,
    gemv: gemv.name.split('_m')[0].replace('bn_bitlinear_', ''),
    tile: [gemv.tile.rows, gemv.tile.columns, gemv.tile.held],
    reason: gemv.reason,
    gemm: gemm.name.split('_m')[0].replace('bn_bitlinear_', ''),
  }));
}

const tilesOf = (model: ModelIR, request: KernelRequest) =>
  Object.fromEntries(kernelsOf(model, request).map(({ use, tile }) => [use, tile.join()]));

requests('without a request matrices are multiplied, and with i2 too, whatever the configuration', () => {
  const file = config([128, 128, 64, 64, 32]);
  for (const request of [{}, { kernel: 'auto' }, { kernel: 'i2' }, { kernel: 'i2', config: file }] as const) {
    const plan = planModel(ir, request);
    assert.is(plan.weights.layout, 'i2_r16c16');
    assert.equal(sectionsOf(ir, plan), []);
    for (const { gemv, gemm } of selectKernels(plan, target)) {
      assert.is(gemv.family, 'bitlinear_i2_gemv');
      assert.is(gemm.family, 'bitlinear_i2_gemm');
      assert.is(gemv.reason, 'config' in request || request.kernel === 'i2' ? 'i2 was asked for' : 'heuristic');
    }
  }
});

for (const kernel of TABLE_KINDS) {
  requests(`${kernel}: every matrix is packed for look-ups, with one tile for all targets`, () => {
    const plan = planModel(ir, { kernel });
    assert.is(plan.weights.layout, LAYOUTS[kernel].id);
    for (const tensor of plan.weights.layer) {
      if (tensor.kind !== 'codes') continue;
      assert.is(tensor.layout, LAYOUTS[kernel].id);
      assert.is(tensor.bytes, packedBytes(LAYOUTS[kernel], tensor.rows, tensor.cols));
    }
    const kernels = kernelsOf(ir, { kernel });
    assert.equal(
      kernels.map(({ use }) => use),
      ['qkv', 'attn_output', 'gate_up', 'down'],
    );
    for (const { gemv, gemm, reason } of kernels) {
      assert.is(gemv, `${kernel}_gemv`);
      assert.is(gemm, `${kernel}_gemm`);
      assert.is(reason, `${kernel} was asked for: default tile`);
    }
    for (const other of targets) {
      const tiles = selectKernels(plan, other).map(({ gemv }) => gemv.tile);
      assert.equal(
        tiles,
        selectKernels(plan, target).map(({ gemv }) => gemv.tile),
      );
    }
  });
}

for (const preset of readdirSync(PRESETS)) {
  const [, model, kind] = /^(.*)\.(tl[12])\.ini$/.exec(preset)!;
  requests(`${preset}: says which kernel it is for, and every matrix of its model gets its tile`, () => {
    const source = readFileSync(join(PRESETS, preset), 'utf8');
    const file = parseKernelConfig(source, join(PRESETS, preset));
    const shape = { 'bitnet_b1_58-large': 'large', 'bitnet_b1_58-3B': '3b' }[model] ?? '8b';
    assert.ok(shape in SHAPES, shape);
    const full = sketch({ ...SHAPES[shape], layers: 1, rope: {} });
    const plan = planModel(full, { config: file });
    assert.is(plan.weights.layout, LAYOUTS[kind as KernelKind].id);
    for (const step of plan.layer) {
      if (step.op !== 'bitlinear') continue;
      const codes = plan.weights.layer.find(({ name }) => name === step.codes)!;
      assert.ok(codes.kind === 'codes' && step.tile);
      for (const { rows } of codes.parts) {
        const { BM, BK, bm } = file.sections.find(({ m, k }) => m === rows && k === codes.cols)!;
        assert.equal(step.tile, { BM, BK, bm });
      }
      assert.match(step.reason!, new RegExp(`^${preset.replaceAll('.', '\\.')} \\[Kernels_\\d\\]`));
    }
    const written = sectionsOf(full, plan).map(({ m, k, BM, BK, bm }) => [m, k, BM, BK, bm].join());
    assert.equal(written.toSorted(), file.sections.map(({ m, k, BM, BK, bm }) => [m, k, BM, BK, bm].join()).toSorted());
  });
}

requests(
  'parts of a fused matrix with different tiles become matrices of their own, and write to the same places',
  () => {
    const fused = planModel(ir, { kernel: 'tl1' });
    const file = config(
      [128, 128, 64, 64, 32],
      [64, 128, 64, 128, 16],
      [192, 128, 64, 128, 32],
      [128, 192, 128, 64, 16],
    );
    const plan = planModel(ir, { kernel: 'tl1', config: file });
    assert.equal(tilesOf(ir, { kernel: 'tl1', config: file }), {
      query: '64,64,32',
      key: '64,128,16',
      value: '64,128,16',
      attn_output: '64,64,32',
      gate_up: '64,128,32',
      down: '128,64,16',
    });
    const linears = plan.layer.filter((step) => step.op === 'bitlinear');
    assert.equal(
      linears.slice(0, 3).map(({ m, out, row, q }) => ({ m, out, row, q })),
      [
        { m: 128, out: 'qkv', row: 0, q: 'q' },
        { m: 64, out: 'qkv', row: 128, q: 'q' },
        { m: 64, out: 'qkv', row: 192, q: 'q' },
      ],
    );
    assert.equal(plan.buffers, fused.buffers);
    const codes = plan.weights.layer.filter((tensor) => tensor.kind === 'codes');
    assert.equal(
      codes.map(({ name, parts }) => [name, ...parts.map(({ tensor }) => tensor)].join(' ')),
      [
        'query attn_q.weight',
        'key attn_k.weight',
        'value attn_v.weight',
        'attn_output attn_output.weight',
        'gate_up ffn_gate.weight ffn_up.weight',
        'down ffn_down.weight',
      ],
    );
  },
);

requests('with equal tiles they stay fused, and a shape without a section gets a default tile, and says so', () => {
  const file = config([128, 128, 64, 64, 32], [64, 128, 64, 64, 32]);
  const kernels = kernelsOf(ir, { kernel: 'tl1', config: file });
  assert.equal(
    kernels.map(({ use, reason }) => [use, reason]),
    [
      ['qkv', 'x.ini [Kernels_0]; x.ini [Kernels_1]'],
      ['attn_output', 'x.ini [Kernels_0]'],
      ['gate_up', 'x.ini has no section for 192 × 128: default tile'],
      ['down', 'x.ini has no section for 128 × 192: default tile'],
    ],
  );
});

requests('which kernel a configuration is for follows from its tiles; where it does not, it is asked for', async () => {
  const kindOf = (file: KernelConfig, model = ir) => planModel(model, { config: file }).weights.layout.split('_')[0];
  assert.is(kindOf(config([128, 128, 64, 64, 32])), 'tl1');
  assert.is(kindOf(config([128, 128, 64, 96, 32])), 'tl2');
  const both = config([128, 192, 64, 192, 32]);
  const error = await refusal(() => kindOf(both));
  assert.match(error.message, /x\.ini suit both tl1 and tl2/);
  assert.match(error.hint!, /tl1 or tl2/);
  assert.is(planModel(ir, { kernel: 'tl2', config: both }).weights.layout, LAYOUTS.tl2.id);
  // The file that was converted with it says what it is.
  const tensors = ir.tensors.map((tensor) =>
    tensor.encoding === 'i2_s' ? { ...tensor, encoding: 'tl2' as const } : tensor,
  );
  assert.is(kindOf(both, { ...ir, tensors }), 'tl2');
  const neither = await refusal(() => kindOf(config([128, 128, 64, 80, 32])));
  assert.match(neither.message, /x\.ini holds the tiles of neither tl1 nor tl2:\n {2}folder\/x\.ini:5: BK/);
  assert.match(neither.message, /nearest values that fit are 64 and 128/);
  assert.match(neither.message, /nearest value that fits? (is|are) 96/);
});

requests('a configuration for another model is refused, with the shapes of this one', async () => {
  for (const kernel of ['auto', 'tl1', 'tl2'] as const) {
    const error = await refusal(() => planModel(ir, { kernel, config: config([32, 128, 32, 64, 16]) }));
    assert.match(error.message, /no section for any matrix of this model/);
    assert.match(error.hint!, /128 × 128, 64 × 128, 192 × 128, 128 × 192/);
  }
});

/** What does not fit: section, kernel, the line, what is wrong, what would fit. */
const MISFITS: readonly (readonly [readonly number[], KernelKind, number, RegExp, string])[] = [
  [
    [192, 128, 60, 64, 32],
    'tl1',
    4,
    /BM of \[Kernels_0\] is 60; for tl1 it must be a multiple of bm = 32 that divides m = 192/,
    '32 and 64',
  ],
  [[192, 128, 128, 64, 32], 'tl1', 4, /that divides m = 192/, '96 and 192'],
  [[192, 128, 256, 64, 32], 'tl1', 4, /that divides m = 192/, '192'],
  [
    [192, 128, 64, 64, 24],
    'tl1',
    6,
    /bm of \[Kernels_0\] is 24; for tl1 it must be a multiple of 16 that divides m = 192/,
    '16 and 32',
  ],
  [[192, 128, 64, 64, 192], 'tl2', 6, /128 at most/, '96'],
  [
    [192, 128, 64, 48, 32],
    'tl1',
    5,
    /BK of \[Kernels_0\] is 48; for tl1 it must be a multiple of 64 that divides k = 128/,
    '64',
  ],
  [[192, 128, 64, 256, 32], 'tl1', 5, /int16/, '128'],
  [[192, 128, 64, 192, 32], 'tl1', 5, /divides k = 128/, '128'],
  [[192, 128, 64, 64, 32], 'tl2', 5, /BK of \[Kernels_0\] is 64; for tl2 it must be a multiple of 96/, '96'],
  [[192, 128, 64, 288, 32], 'tl2', 5, /128 · BK ≤ 32767/, '192'],
];

for (const [section, kernel, line, message, nearest] of MISFITS) {
  requests(
    `${kernel} with ${section.slice(2).join('×')} for ${section.slice(0, 2).join('×')} is refused, with what would fit`,
    async () => {
      const error = await refusal(() => planModel(ir, { kernel, config: config(section) }));
      assert.match(error.message, message);
      assert.ok(error.message.startsWith(`folder/x.ini:${line}: `), error.message);
      assert.is(error.hint!.replace(/^.* (is|are) /, ''), nearest);
    },
  );
}

requests(
  'the widest chunks are accepted: their int16 sums reach 24576, and the next ones could reach more than 32767',
  () => {
    for (const [kernel, k] of [
      ['tl1', 192],
      ['tl2', 128],
    ] as const) {
      const shape = kernel === 'tl1' ? [128, k] : [192, k];
      planModel(ir, { kernel, config: config([...shape, 64, 192, 32]) });
      assert.ok(128 * 192 <= 32767 && 128 * (192 + LAYOUTS[kernel].columns) > 32767 - 128);
    }
  },
);

const MODELS: Readonly<Record<string, ModelIR>> = {
  even: ir,
  ragged: sketch({ architecture: 'llama', embedding: 100, ffn: 90, heads: 3, kvHeads: 3, headDim: 24 }),
  'in few common tiles': sketch({ embedding: 144, ffn: 368, heads: 9, kvHeads: 3, headDim: 16 }),
  large: sketch({ ...SHAPES['2b4t'], layers: 1, rope: {} }),
  wide: sketch({ ...SHAPES['3b'], layers: 1, rope: {} }),
};

for (const [name, model] of Object.entries(MODELS)) {
  for (const kernel of TABLE_KINDS) {
    requests(`${name}: what ${kernel} wrote gives the same kernels when it is read`, () => {
      const plan = planModel(model, { kernel });
      const file = parseKernelConfig(formatKernelConfig(sectionsOf(model, plan)), 'written.ini');
      const again = planModel(model, { kernel, config: file });
      const names = (one: typeof plan) =>
        targets.flatMap((other) =>
          selectKernels(one, other).flatMap(({ use, gemv, gemm }) => [use, gemv.name, gemm.name]),
        );
      assert.equal(names(again), names(plan));
      assert.equal(again.weights, plan.weights);
      assert.equal(sectionsOf(model, again), sectionsOf(model, plan));
      const shapes = sectionsOf(model, plan).map(({ m, k }) => `${m} × ${k}`);
      assert.is(new Set(shapes).size, shapes.length);
    });
  }
}

requests("bitnet.cpp's own rules hold for the tiles that are chosen for its shapes", () => {
  for (const [m, k] of [
    [1536, 4096],
    [3200, 8640],
    [8640, 3200],
    [14336, 4096],
  ]) {
    const one = defaultTableTile(LAYOUTS.tl1, [m], k);
    const two = defaultTableTile(LAYOUTS.tl2, [m], k);
    for (const { BM, bm } of [one, two]) assert.ok(m % BM === 0 && BM % bm === 0 && bm === 32, `${m} ${BM} ${bm}`);
    assert.is(k % one.BK, 0);
    assert.is((k % two.BK) % 32, 0);
    assert.is(two.BK % 6, 0);
  }
});

requests('paths stay out of reasons', () => {
  const reasons = kernelsOf(ir, { config: config([128, 128, 64, 64, 32]) }).map(({ reason }) => reason);
  assert.ok(reasons.every((reason) => !reason.includes('/') && reason.includes(basename('folder/x.ini'))));
});

requests.run();
