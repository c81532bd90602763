import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../../package-root.ts';
import { cuda } from '../../../targets/index.ts';
import type { Plan, Step } from '../../ir/plan.ts';
import { GEMV, type GpuKernels, MMA, SKINNY } from '../../kernels/bitlinear-t16.ts';
import type { KernelSpec } from '../../kernels/spec.ts';
import { GPU_MAX_TOKENS } from '../../passes/for-gpu.ts';
import { type Share, shareAmong } from '../../passes/share-gpus.ts';
import type { Tuned } from '../../tune/tuned-file.ts';
import { render, templateFolder } from '../environment.ts';
import type { Source } from '../index.ts';
import { cppDouble, headTable } from '../views.ts';
import { CudaViews } from './views.ts';

type BitLinear = Extract<Step, { op: 'bitlinear' }>;

/** A launch of the table that the engine reads: an initialiser of bn_cuda_launch. */
type Launch = string;

interface Grid {
  readonly x?: number;
  readonly unit?: 'ONCE' | 'TOKENS' | 'ROWS' | 'HIDDEN' | 'RUNS' | 'SINGLES' | 'CHOSEN' | 'DRAWN';
  readonly per?: number;
  /** Amounts that it is for: greater than the first, up to the second. */
  readonly range?: readonly [number, number];
  /** Not before the launch before it has ended: only the first of a step must not. */
  readonly late?: boolean;
  /** Bytes of shared memory beyond what its code declares, as an expression. */
  readonly shared?: string;
}

const launch = (
  kernel: string,
  threads: number,
  { x = 1, unit = 'TOKENS', per = 1, range = [0, 0], late, shared = '0' }: Grid = {},
): Launch =>
  `{"${kernel}", ${threads}, ${shared}, ${x}, 0, 0, BN_CUDA_${unit}, ${per}, ${range.join(', ')}, ${late ? 0 : 1}}`;

/** Of templates/cuda/block.cuh and draw.cuh: threads of a block, and logits of a row that one takes. */
const BLOCK_THREADS = 1024;
const SLICE = 4 * BLOCK_THREADS;

/** The launch of a ternary kernel of a matrix. */
export function runOf(use: string, { family, tile: { tokens, block } }: KernelSpec): Launch {
  switch (family) {
    case GEMV:
      return `GEMV(${use})`;
    case SKINNY:
      return `SKINNY(${use}, ${tokens})`;
    case MMA:
      return `MMA(${use})`;
    default:
      return `GEMM(${use}, ${tokens}, ${block!.stages})`;
  }
}

/** The launch of one kernel where there is wgmma, and of another elsewhere. */
const eitherOf = (use: string, one: KernelSpec, plain: KernelSpec): Launch =>
  one === plain ? runOf(use, one) : `WGMMA_OR(${runOf(use, one)}, ${runOf(use, plain)})`;

/** Which kernel of a ternary matrix a program takes. */
type Multiply = (use: string, kernels: GpuKernels) => Launch;

interface Program {
  readonly title: string;
  readonly maxTokens: number;
  readonly multiply: Multiply;
  /** Kernels that norm and quantise for themselves need no launches that do. */
  readonly fused?: boolean;
  /** Whether keys and values are cached as float32: more exact, and slow. */
  readonly wide?: boolean;
}

const BY_TOKENS: readonly Program[] = [
  { title: 'one token', maxTokens: 1, multiply: (use, { one }) => runOf(use, one), fused: true },
  { title: 'a few', maxTokens: 16, multiply: (use, { few }) => runOf(use, few) },
  { title: 'some', maxTokens: 64, multiply: (use, { some, plain }) => eitherOf(use, some, plain.some) },
  {
    title: 'many',
    maxTokens: GPU_MAX_TOKENS,
    multiply: (use, { many, plain }) => eitherOf(use, many, plain.many),
  },
];

const PROGRAMS: readonly Program[] = [
  ...BY_TOKENS,
  ...BY_TOKENS.map((program) => ({ ...program, title: `${program.title}, float32 cache`, wide: true })),
];

/** Whether the head is in tiles: then one launch norms, multiplies and chooses. */
const headIsTiled = ({ plan }: CudaViews): boolean => {
  const head = headTable(plan);
  return head.kind === 'rows' && head.tiled === true;
};

/** What launches need of a step's view. */
interface StepFacts {
  readonly name: string;
  readonly threads: number;
  readonly tiled?: boolean;
  readonly outStride: number;
  readonly outParts: number;
}

function launchesOf(views: CudaViews, step: Step, { multiply, fused, wide }: Program): Launch[] {
  const { name, threads, tiled, outStride, outParts } = views.step(step) as unknown as StepFacts;
  const { kvHeads, heads, vocab } = views.plan.hyper;
  const flash = views.flash && !wide;
  const cell = wide ? '_f32' : '';
  switch (step.op) {
    case 'embed':
      return [launch(`${name}_rows`, 256, { x: Math.ceil((outStride * outParts) / 256), late: true })];
    case 'norm_quantise':
    case 'gated_quantise':
      return fused && views.fuses(step) ? [] : [launch(`${name}_rows`, threads)];
    case 'norm':
      return [launch(`${name}_rows`, threads)];
    case 'final_norm':
      return [launch(`${name}_rows`, threads, fused && headIsTiled(views) ? { unit: 'HIDDEN' } : {})];
    case 'bitlinear':
      return [multiply(step.use, views.kernels(step))];
    case 'rope_store':
      return fused && flash ? [] : [launch(`${name}_store${cell}`, 128, { x: Math.ceil((heads + 2 * kvHeads) / 4) })];
    case 'attention':
      if (flash && fused) return [`ONE_TOKEN(${name})`];
      if (flash) {
        return [
          launch(`${name}_runs`, 256, { x: heads, unit: 'RUNS', shared: 'kFlashShared' }),
          launch(`${name}_singles`, 128, { x: kvHeads, unit: 'SINGLES' }),
        ];
      }
      return [
        launch(`${name}_tokens${cell}`, 128, { x: kvHeads, shared: `kScoresFit<${name}> ? kScoreBytes<${name}> : 0` }),
      ];
    case 'head': {
      const slices = Math.ceil(vocab / SLICE);
      const drawn = [
        launch(`${name}_adjust`, BLOCK_THREADS, { x: slices, unit: 'DRAWN' }),
        launch(`${name}_weigh`, BLOCK_THREADS, { x: slices, unit: 'DRAWN' }),
        launch(`${name}_draw`, BLOCK_THREADS, { unit: 'DRAWN' }),
      ];
      if (tiled && fused) return [`ONE_HEAD(${name})`, ...drawn];
      const best = launch(`${name}_best`, 1024, { unit: 'CHOSEN' });
      if (tiled) {
        // Rows of logits that share a read of the head.
        const many = (per: number, range: readonly [number, number]): Launch => {
          const [x, shared] = [Math.ceil(vocab / 128), `kHeadShared<${per}>`];
          return launch(`${name}_${per}`, 256, { x, unit: 'ROWS', per, range, shared });
        };
        return [many(16, [0, 16]), many(64, [16, GPU_MAX_TOKENS]), best, ...drawn];
      }
      const x = Math.min(1024, Math.ceil(vocab / 8));
      return [launch(`${name}_head`, 256, { x, unit: 'ROWS', per: 8 }), best, ...drawn];
    }
  }
}

/** What a step's rows are gathered with, before a step that reads them. */
function gatheringOf(views: CudaViews, step: Step, next: Step | undefined): Launch[] {
  if (!('out' in step) || views.parts(step.out) === 1 || (step.op !== 'bitlinear' && step.op !== 'attention'))
    return [];
  if (next?.op === 'bitlinear' && next.out === step.out) return [];
  const { offset } = views.buffer(step.out);
  return [`{"", 0, 0, 0, 0, 0, BN_CUDA_TOKENS, 1, 0, 0, 0, ${views.stride(step.out)}, ${offset}}`];
}

function programView(views: CudaViews, program: Program) {
  const { plan } = views;
  const parts = [plan.prologue, plan.layer, plan.epilogue].map((steps) =>
    steps.flatMap((step, i) => [...launchesOf(views, step, program), ...gatheringOf(views, step, steps[i + 1])]),
  );
  const [prologue, layer, epilogue] = parts.map((launches) => launches.length);
  const kv = program.wide ? 'BN_KV_F32' : 'BN_KV_F16';
  return { ...program, open: '{', kv, prologue, layer, epilogue, launches: parts.flat() };
}

/** How each ternary kernel is tried, in the order of trialChecksums. */
function trialsOf(views: CudaViews) {
  const matrices = views.plan.layer.filter((step): step is BitLinear => step.op === 'bitlinear');
  return matrices.flatMap((step) => {
    const { use, m } = step;
    const { one, few, some, many, plain } = views.kernels(step);
    const trial = (kernel: KernelSpec, guard: 'ifdef' | 'ifndef' | null = null) => {
      const tokens = kernel === one ? '1' : 'BN_CUDA_TRIAL_TOKENS';
      return { use, m, kernel: kernel.name, tokens, run: runOf(use, kernel), guard };
    };
    const either = (kernel: KernelSpec, other: KernelSpec) =>
      kernel === other ? [trial(kernel)] : [trial(other, 'ifndef'), trial(kernel, 'ifdef')];
    return [trial(one), trial(few), ...either(some, plain.some), ...either(many, plain.many)];
  });
}

function modelView(share: Share, tuned?: Tuned) {
  const { plan, gpus, slices, fileLayerBytes } = share;
  const views = new CudaViews(share, tuned);
  const { hyper, weights } = plan;
  const trials = trialsOf(views);
  const pairs = plan.ropeFrequencies.length;
  return {
    target: cuda.id,
    architecture: plan.architecture,
    layers: hyper.layers,
    embedding: hyper.embedding,
    vocab: hyper.vocab,
    context: hyper.context,
    maxTokens: plan.maxTokens,
    layerBase: weights.layerBase,
    layerBytes: weights.layerBytes,
    fileLayerBytes,
    gpus,
    slices: slices.map(({ from, step, to, bytes }) => ({ text: `{${from}, ${step}, ${to}, ${bytes}}` })),
    workspaceBytes: views.kept.end,
    tableBytes: 8 * pairs * hyper.context * (views.windowed ? 2 : 1),
    kvPositionBytes: [4, 2].map((bytes) => hyper.layers * hyper.kvHeads * 2 * hyper.headDim * bytes).join(', '),
    windowed: views.windowed,
    localLayers: hyper.window?.local.join(', ') ?? null,
    pairs,
    frequencies: plan.ropeFrequencies.map(cppDouble),
    localFrequencies: plan.localFrequencies?.map(cppDouble) ?? null,
    prologue: plan.prologue.map((step) => views.step(step)),
    layer: plan.layer.map((step) => views.step(step)),
    epilogue: plan.epilogue.map((step) => views.step(step)),
    setup: `{${launch('rope_angles', 256, { x: 256, unit: 'ONCE', late: true })}}`,
    programCount: PROGRAMS.length,
    programs: PROGRAMS.map((program) => programView(views, program)),
    trialCount: trials.filter(({ guard }) => guard !== 'ifndef').length,
    trials,
  };
}

/** The operands of the warpgroup products, for the numbers of tokens that tiles have. */
function wgmmaView() {
  const lines = (texts: readonly string[], end: string) =>
    Array.from({ length: texts.length / 8 }, (_, i) => {
      const last = 8 * (i + 1) === texts.length;
      return texts.slice(8 * i, 8 * (i + 1)).join(', ') + (last ? '' : end);
    });
  return {
    widths: [64, 128, 256].map((tokens) => {
      const sums = tokens / 2;
      const index = Array.from({ length: sums }, (_, i) => i);
      return {
        tokens,
        sums,
        places: lines(
          index.map((i) => `%${i}`),
          ', ',
        ),
        operands: lines(
          index.map((i) => `"+r"(d[${i}])`),
          ',',
        ),
        factors: `{%${sums}, %${sums + 1}, %${sums + 2}, %${sums + 3}}, %${sums + 4}`,
      };
    }),
  };
}

/** Headers of templates/cuda that a program gets as they are. */
const COPIED = [
  'attention.cuh',
  'block.cuh',
  'candidate.cuh',
  'decode.cuh',
  'draw.cuh',
  'flash.cuh',
  'gemm.cuh',
  'head.cuh',
  'launches.cuh',
  'rows.cuh',
  'sample.cuh',
  'tables.cuh',
  'text.cuh',
];

/** Writes the program of a model for NVIDIA GPUs, which each of those that share it runs. */
export function renderCuda(plan: Plan, gpus = 1, tuned?: Tuned): Source[] {
  return [
    ...headers(),
    { file: 'model.cu', text: render('model.cu', modelView(shareAmong(plan, gpus), tuned), 'cuda') },
  ];
}

/** What a program for NVIDIA GPUs includes. */
export function headers(): Source[] {
  const copied = (file: string, ...from: string[]): Source => ({ file, text: readFileSync(join(...from), 'utf8') });
  return [
    copied('abi.h', packageRoot(), 'artifact', 'abi.h'),
    copied('cuda.h', packageRoot(), 'artifact', 'cuda.h'),
    copied('sampling.h', packageRoot(), 'artifact', 'sampling.h'),
    copied('primitives.cuh', packageRoot(), 'targets', cuda.id, 'primitives.cuh'),
    ...COPIED.map((file) => copied(file, templateFolder('cuda'), file)),
    { file: 'wgmma.cuh', text: render('wgmma.cuh', wgmmaView(), 'cuda') },
  ];
}
