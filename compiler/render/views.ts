import { FEW_TRIAL_TOKENS, TRIAL_TOKENS } from '../../artifact/trial.ts';
import type { Target } from '../../targets/target.ts';
import { encodedBytes } from '../import/encodings/index.ts';
import type { Encoding } from '../ir/model.ts';
import { type Buffer, needsBarrier, type PackedTensor, type Plan, pad16, pad64, type Step } from '../ir/plan.ts';
import { panelsOf, runOf } from '../kernels/bitlinear-i2-columns.ts';
import { families, layoutOf, SKIPPING } from '../kernels/index.ts';
import { blocksOf, type Layout, packedBytes } from '../kernels/layout.ts';
import { STRETCH_ROWS, screenBytes, screenLayout, screenScratch } from '../kernels/screen.ts';
import { FEW_TOKENS, type KernelSpec } from '../kernels/spec.ts';
import { type Choice, distinctKernels } from '../passes/select-kernels.ts';

/** Tokens of a sequence that share each read of keys and values. */
const TOKEN_BLOCK = 8;

/** Positions whose keys or values are converted to float32 at once: 32 KiB for heads of 128. */
const RUN = 64;

/** A double constant as C++ spells it, exact. */
export function cppDouble(value: number): string {
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

/** A float constant as C++ spells it. */
export const cppFloat = (value: number): string => `${cppDouble(value)}f`;

function find(tensors: readonly PackedTensor[], name: string): PackedTensor {
  const found = tensors.find((tensor) => tensor.name === name);
  if (!found) throw new Error(`the plan has no packed tensor '${name}'`);
  return found;
}

const familyOf = ({ family: id }: Pick<KernelSpec, 'family'>) => families.find((family) => family.id === id)!;

const scratchBytes = (spec: KernelSpec): number => pad64(familyOf(spec).scratchBytes(spec, spec.tile));

const layoutOfSpec = (spec: KernelSpec) => layoutOf(familyOf(spec).layout);

/** Bytes of packed codes of a kernel's matrix. */
export const weightBytesOf = (spec: KernelSpec): number => packedBytes(layoutOfSpec(spec), spec.m, spec.k);

/** How a panel is unpacked from a layout; anything but blocks is what a matrix that is read in part has. */
const unpackOf = (layout: Layout): string =>
  layout.id === SKIPPING.rows.id ? 'rows' : layout.id === SKIPPING.columns.id ? 'columns' : 'blocks';

/** What the running sums of a kernel are sure to fit in. */
function boundsOf({ k, tile, family }: KernelSpec, target: Target): string {
  if (tile.held !== undefined) return `128 * ${tile.columns} <= 32767 (int16), 128 * ${k} <= 2147483647 (int32).`;
  if (target.sumBits === 16) return `512 * ${tile.columns} / 4 <= 32767 (int16).`;
  if (familyOf({ family }).takes === 'many') return `256 * ${pad16(k)} <= 2147483647 (int32).`;
  return `65536 * ${pad16(k) / 16} <= 2147483647 (int32).`;
}

/** View of a ternary kernel's template. */
export function kernelView(spec: KernelSpec, target: Target) {
  const { m, k, tile } = spec;
  const layout = layoutOfSpec(spec);
  const kind = layout.id.split('_')[0];
  const { rows, columns, held = rows, tokens } = tile;
  const unpack = unpackOf(layout);
  const panels = unpack === 'columns' ? panelsOf(tile) : null;
  // Of a matrix that is packed by columns, sixteen are unpacked at a time.
  const blockColumns = Math.max(16, layout.columns);
  return {
    ...spec,
    tile: { ...tile, held },
    target: target.id,
    primitive: `bn_${kind}`,
    tableBytes: `BN_${kind.toUpperCase()}_TABLE`,
    blocks: Math.ceil(k / blockColumns),
    blockBytes: layout.blockBytes,
    blockColumns,
    blockQuads: blockColumns / 4,
    /** Activations of the last block, where they end before it. */
    cut: pad16(k) % layout.columns,
    steps: pad16(k) / 16,
    blockSteps: blockColumns / 16,
    padded: pad16(k),
    unpack: `partials/unpack_${unpack}`,
    skips: unpack !== 'blocks',
    columnQuads: Math.ceil(k / 4),
    columnBytes: pad64(m / 4),
    paddedColumn: m % 256 !== 0,
    run: runOf(m),
    most: FEW_TOKENS,
    ragged: k % layout.columns !== 0,
    chunked: columns < pad16(k),
    chunkBlocks: columns / layout.columns,
    chunkSteps: columns / 16,
    tileGroups: rows / 16,
    panels,
    tiled: rows > 16 || panels !== null,
    heldGroups: held / 16,
    severalHeld: held > 16,
    /** Tiles for the tokens that are left of whole ones. */
    tails: [8, 4, 2, 1].filter((size) => size < tokens),
    bounds: boundsOf(spec, target),
  };
}

/** The encodings that store one number after the other: C++ type, and what loads sixteen. */
const PLAIN: Partial<Record<Encoding, { format: string; type: string; load: string }>> = {
  f32: { format: 'float32', type: 'float', load: 'bn_load16' },
  f16: { format: 'float16', type: 'uint16_t', load: 'bn_load16_f16' },
  bf16: { format: 'bfloat16', type: 'uint16_t', load: 'bn_load16_bf16' },
};

/** Of sixteen floats, which sums run in: how many fit the registers. */
const sixteens = ({ registers, lanes }: Target): number => registers / (16 / lanes);

/** Whether vectors are so few that four of those, and what is multiplied into them, do not fit. */
const cramped = (target: Target): boolean => target.lanes > 1 && sixteens(target) < 8;

/** View of embedding.cpp and head.cpp: a table of rows in the model file's own encoding. */
export function tableView(tensor: PackedTensor, target: Target) {
  if (tensor.kind !== 'rows') throw new Error(`packed tensor '${tensor.name}' is not a table`);
  const { encoding, rows, cols } = tensor;
  const padded = pad16(cols);
  const tail = cols % 16;
  return {
    target: target.id,
    decode: `partials/decode_${encoding in PLAIN ? 'plain' : encoding}`,
    plain: PLAIN[encoding] ?? null,
    encoding: encoding.toUpperCase(),
    rows,
    cols,
    padded,
    tail,
    whole: cols - tail,
    rowBytes: encodedBytes(encoding, [cols]),
    /** Rows whose sums are in registers at once, if there are several, and tokens with them. */
    tileRows: cramped(target) ? null : 4,
    tileTokens: sixteens(target) >= 32 ? 4 : null,
  };
}

/** What of attention is not the same in all models: the view of attention.h. */
export const attentionFlags = (plan: Plan) => ({
  headNorms: plan.layer.some((step) => step.op === 'rope_store' && step.queryNorm !== null),
  windowed: plan.hyper.window !== undefined,
});

/** View of attention.cpp. */
export function attentionView(plan: Plan, target: Target) {
  const { heads, kvHeads, headDim, layers, rope } = plan.hyper;
  const { attentionScale = 1 / Math.sqrt(headDim), normEpsilon } = plan.hyper;
  const flags = attentionFlags(plan);
  const headRow = pad16(headDim);
  const roomy = target.registers >= 32 && target.lanes === 16;
  const attention = pad16(heads * headDim);
  const keys = pad16(kvHeads * headDim);
  return {
    target: target.id,
    heads,
    kvHeads,
    headDim,
    headRow,
    layers,
    qkvStride: attention + 2 * keys,
    keyOffset: attention,
    valueOffset: attention + keys,
    outStride: attention,
    rotated: rope.dimensions,
    half: rope.dimensions / 2,
    interleaved: plan.hyper.rope.pairs === 'interleaved',
    frequencies: plan.ropeFrequencies.map(cppDouble),
    localFrequencies: plan.localFrequencies?.map(cppDouble) ?? null,
    angleStride: strides(plan).angles,
    scale: cppFloat(Math.fround(attentionScale)),
    ...flags,
    epsilon: cppFloat(Math.fround(normEpsilon)),
    headTail: headDim % 16,
    begin: flags.windowed ? 'begin' : '0',
    window: flags.windowed ? 'window, ' : '',
    tokenBlock: TOKEN_BLOCK,
    queries: roomy ? 8 : cramped(target) ? 2 : 4,
    wide: roomy && headRow % 32 === 0 ? 2 : 1,
    run: RUN,
  };
}

/** Independent sums, by width: enough to hide a dot product's latency, few enough to stay in registers. */
const PROBE_SUMS: Readonly<Record<number, number>> = { 8: 2, 16: 24 };

/** View of probe.cpp. */
export function probeView(target: Target) {
  return { target: target.id, sums: PROBE_SUMS[target.lanes] ?? 4, inner: 60 };
}

type ScreenTensor = Pick<Extract<PackedTensor, { kind: 'screen' }>, 'rows' | 'cols' | 'bits'>;

/** The coarse copy of the head, where there is one. */
export const screenOf = (plan: Plan) => plan.weights.shared.find((tensor) => tensor.kind === 'screen');

/** View of screen.cpp: the coarse copy of a table. */
export function screenView({ rows, cols, bits }: ScreenTensor, table: Pick<PackedTensor, 'bytes'>, target: Target) {
  return {
    ...screenLayout(cols),
    target: target.id,
    rows,
    cols,
    padded: pad16(cols),
    stretch: STRETCH_ROWS,
    stretchBytes: screenBytes(STRETCH_ROWS, cols, bits),
    fifth: bits === 5,
    most: FEW_TOKENS,
    scratchBytes: screenScratch(cols),
    rowBytes: table.bytes / rows,
  };
}

/** Whether a kernel looks sums up in tables that it makes first. */
const looksUp = ({ tile }: KernelSpec): boolean => tile.held !== undefined;

/** View of kernels.h. */
export function kernelsView(choices: readonly Choice[]) {
  const kernels = distinctKernels(choices).map((spec) => {
    const { takes, layout } = familyOf(spec);
    const one = takes === 'one';
    return {
      name: spec.name,
      tables: looksUp(spec),
      listed: one && layout === SKIPPING.rows.id,
      summed: one && layout === SKIPPING.columns.id,
    };
  });
  return { kernels };
}

/** What a buffer holds, by the last part of its name. */
const CPP_TYPE: Record<string, string> = { q: 'int8_t', quant: 'bn_quant' };

function bufferView({ name, offset }: Buffer) {
  const constant = `k${name.replace(/(^|_)(\w)/g, (_, _bar, letter: string) => letter.toUpperCase())}`;
  return { name, constant, offset, type: CPP_TYPE[name.split('_').at(-1)!] ?? 'float' };
}

/** Floats from one token's part of a buffer to the next's. */
function strides(plan: Plan): Record<string, number> {
  return Object.fromEntries(plan.buffers.map(({ name, bytes }) => [name, bytes / 4]));
}

/** Bytes of one token's sums, of a kernel that adds up columns. */
const sumBytes = ({ m }: { readonly m: number }): number => 16 * pad64(m / 4);

/** Where in its scratch a kernel that reads a matrix in part has its list. */
function listOffset(spec: KernelSpec, skips: 'rows' | 'columns' | undefined): number {
  return FEW_TOKENS * (skips === 'rows' ? blocksOf(SKIPPING.rows, spec.k) * 256 : sumBytes(spec));
}

function stepView(plan: Plan, choices: readonly Choice[], step: Step, next: Step | undefined) {
  const barrier = needsBarrier(step, next);
  const stride = strides(plan);
  const partial = `steps/${step.op}`;
  const shared = (name: string) => find(plan.weights.shared, name);
  const layer = (name: string) => find(plan.weights.layer, name);
  switch (step.op) {
    case 'embed':
      return {
        ...step,
        partial,
        scale: step.scale === null ? null : cppFloat(step.scale),
        table: shared(step.table).offset,
        padded: pad16(plan.hyper.embedding),
        outStride: stride[step.out],
        anglesStride: stride[step.angles],
      };
    case 'norm':
      return {
        ...step,
        partial,
        barrier,
        padded: pad16(step.size),
        inputStride: stride[step.input],
        outStride: stride[step.out],
        normOffset: layer(step.norm).offset,
      };
    case 'norm_quantise':
    case 'gated_quantise':
      return {
        ...step,
        partial,
        barrier,
        padded: pad16(step.size),
        inputStride: stride[step.input],
        normOffset: step.norm === null ? null : layer(step.norm).offset,
      };
    case 'bitlinear': {
      const { gemv, gemm } = choices.find((choice) => choice.use === step.use)!;
      return {
        ...step,
        partial: step.skips === undefined ? partial : `${partial}_${step.skips}`,
        barrier,
        padded: pad16(step.k),
        size: plan.hyper.ffn,
        listOffset: listOffset(gemv, step.skips),
        sumBytes: sumBytes(step),
        run: runOf(step.m),
        few: FEW_TOKENS,
        codes: layer(step.codes).offset,
        scales: layer(step.scales).offset,
        outStride: stride[step.out],
        groups: step.m / 16,
        gemv: gemv.name,
        tables: looksUp(gemv),
        gemvGroups: gemv.tile.rows / 16,
        gemm: gemm.name,
        gemmGroups: (gemm.tile.rows / 16) * (step.skips === 'columns' ? panelsOf(gemm.tile) : 1),
      };
    }
    case 'rope_store':
      return {
        ...step,
        partial,
        queryNormOffset: step.queryNorm === null ? null : layer(step.queryNorm).offset,
        keyNormOffset: step.keyNorm === null ? null : layer(step.keyNorm).offset,
      };
    case 'attention': {
      const size = plan.hyper.heads * plan.hyper.headDim;
      return { ...step, partial, size, outStride: stride[step.out], tail: size % 16 };
    }
    case 'final_norm':
      return {
        ...step,
        partial,
        size: plan.hyper.embedding,
        padded: pad16(plan.hyper.embedding),
        inputStride: stride[step.input],
        outStride: stride[step.out],
        normOffset: shared(step.norm).offset,
      };
    case 'head':
      return {
        ...step,
        partial,
        table: headTable(plan).offset,
        rows: plan.hyper.vocab,
        screen: screenOf(plan)?.offset ?? null,
        few: FEW_TOKENS,
      };
  }
}

/** A row of the table of kernels. */
const kernelEntry = (spec: KernelSpec, maxTokens: number) => ({
  ...spec,
  maxTokens: familyOf(spec).takes === 'one' ? (familyOf(spec).most ?? 1) : maxTokens,
  scratchBytes: scratchBytes(spec),
  weightBytes: weightBytesOf(spec),
});

/** View of kernel_table.cpp: a library of kernels alone. */
export const kernelTableView = (specs: readonly KernelSpec[], target: Target, maxTokens: number) => ({
  target: target.id,
  maxTokens,
  kernels: specs.map((spec) => kernelEntry(spec, maxTokens)),
});

/** The table that the head reads: its own, or the embedding where the two are tied. */
export function headTable(plan: Plan): PackedTensor {
  const own = plan.weights.shared.find((tensor) => tensor.name === 'head');
  return own ?? find(plan.weights.shared, 'embedding');
}

/** View of model.cpp. */
export function modelView(plan: Plan, target: Target, choices: readonly Choice[]) {
  const kernels = distinctKernels(choices);
  const { hyper, weights } = plan;
  const attention = attentionView(plan, target);
  const linears = plan.layer.filter((step) => step.op === 'bitlinear');
  const views = (steps: readonly Step[]) => steps.map((step, at) => stepView(plan, choices, step, steps[at + 1]));
  const widest = Math.max(pad16(hyper.embedding), attention.outStride, pad16(hyper.ffn));
  const queries = attention.tokenBlock * (hyper.heads / hyper.kvHeads);
  const scores = 4 * (attention.run * attention.headRow + queries * (2 * attention.headRow + pad16(hyper.context)));
  const panels = Math.max(...kernels.map(scratchBytes));
  const headRows = 4 * 4 * pad16(hyper.embedding);
  const screen = screenOf(plan) ? screenScratch(hyper.embedding) : 0;

  const mostColumns = Math.max(...linears.map(({ k }) => pad16(k)));
  const mostRows = Math.max(...linears.map(({ m }) => m));
  const trialY = pad64(TRIAL_TOKENS * mostColumns);
  const trialScales = trialY + pad64(TRIAL_TOKENS * mostRows * 4);
  const trialScratch = trialScales + pad64(mostRows / 4);

  return {
    target: target.id,
    architecture: plan.architecture,
    layers: hyper.layers,
    epsilon: cppFloat(Math.fround(hyper.normEpsilon)),
    layerBase: weights.layerBase,
    layerBytes: weights.layerBytes,
    tokenBytes: plan.workspaceBytes,
    scratchBytes: pad64(Math.max(4 * widest, scores, panels, headRows, screen)),
    /** Scores of one token, of all its heads. */
    sharedBytes: 4 * hyper.heads * pad16(hyper.context),
    few: FEW_TOKENS,
    skips: linears.some(({ skips }) => skips !== undefined),
    buffers: plan.buffers.map(bufferView),
    windowed: attention.windowed,
    localLayers: hyper.window?.local.join(', ') ?? null,
    prologue: views(plan.prologue),
    layer: views(plan.layer),
    epilogue: views(plan.epilogue),
    kernelCount: kernels.length,
    kernels: kernels.map((spec) => kernelEntry(spec, plan.maxTokens)),
    uses: linears.flatMap((step) => {
      const choice = choices.find(({ use }) => use === step.use)!;
      return [choice.gemv, choice.gemm].map((spec) => ({
        offset: find(weights.layer, step.codes).offset,
        kernel: kernels.findIndex(({ name }) => name === spec.name),
        columns: step.k,
        groups: step.m / 16,
      }));
    }),
    trialTokens: TRIAL_TOKENS,
    fewTrialTokens: FEW_TRIAL_TOKENS,
    trialY,
    trialScales,
    trialScratch,
    mostGroups: mostRows / 16,
    vocab: hyper.vocab,
    context: hyper.context,
    embedding: hyper.embedding,
    maxTokens: plan.maxTokens,
  };
}
