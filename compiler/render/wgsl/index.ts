import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TRIAL_TOKENS } from '../../../artifact/trial.ts';
import {
  type Access,
  FLAGS,
  type Flag,
  type GpuTensor,
  type Launch,
  type Shader,
  type StepProgram,
  type Trial,
  WEBGPU_VERSION,
  type WebGpuProgram,
} from '../../../artifact/webgpu.ts';
import { packageRoot } from '../../../package-root.ts';
import { webgpu } from '../../../targets/index.ts';
import type { PackedTensor, Plan, Step } from '../../ir/plan.ts';
import { selectWebGpuKernels } from '../../passes/select-webgpu-kernels.ts';
import { render } from '../environment.ts';
import type { Source } from '../index.ts';
import { headTable } from '../views.ts';
import { type BitLinear, RUN, WgslViews, WHOLE, wgslFloat } from './views.ts';

/** Tokens that the second kernel of a ternary matrix takes at most; the third takes any number. */
const FEW = 4;
/** Rows of logits that share a reading of the head. */
const HEAD_ROWS = 4;
/** See WebGpuProgram.sampling. */
const SAMPLING = { room: 4096, slices: 128, bins: 1024 };
const READ_VECTORS = 16;
const DOT_ROUNDS = 64;

type View = Readonly<Record<string, unknown>>;

const primitives = (file: string): string =>
  readFileSync(join(packageRoot(), 'targets', webgpu.id, `${file}.wgsl`), 'utf8').trimEnd();

const ACCESS: Readonly<Record<string, Access>> = {
  uniform: 'uniform',
  'storage, read': 'read',
  'storage, read_write': 'write',
};

/** How a shader uses what is bound, in the order of the bindings. */
function bindingsOf(text: string): Access[] {
  const found = [...text.matchAll(/@binding\((\d+)\) var<([^>]+)>/g)].map(
    ([, at, access]) => [Number(at), ACCESS[access!]!] as const,
  );
  return found.sort(([a], [b]) => a - b).map(([, access]) => access);
}

/** The shaders of a model, in all their variants, by name. */
class Shaders {
  readonly all: Record<string, Shader> = {};

  /** Renders a shader, unless that is done, and returns its name. */
  add(name: string, template: string, flags: readonly Flag[], view: View): string {
    if (name in this.all) return name;
    const variants: Record<string, string> = {};
    for (let bits = 0; bits < 1 << flags.length; bits++) {
      const set = flags.filter((_, i) => bits & (1 << i));
      const has = (flag: Flag) => set.includes(flag);
      const dot4 = primitives(has('dot4') ? 'dot4_packed' : 'dot4_plain');
      const wide = has('f32');
      const vector = !wide && typeof view.dim === 'number' && view.dim % 8 === 0;
      const cell = wide ? 'vec2f' : vector ? 'vec4u' : 'u32';
      const text = render(template, { ...view, subgroups: has('subgroups'), dot4, wide, vector, cell }, 'wgsl');
      variants[variantName(set)] = `${text.replace(/\n{3,}/g, '\n\n').trimEnd()}\n`;
    }
    this.all[name] = { bindings: bindingsOf(Object.values(variants)[0]!), flags, variants };
    return name;
  }
}

const variantName = (set: readonly Flag[]): string => FLAGS.filter((flag) => set.includes(flag)).join('+');

const REDUCES: readonly Flag[] = ['subgroups'];
const MULTIPLIES: readonly Flag[] = ['dot4'];
const GEMV: readonly Flag[] = ['dot4', 'subgroups'];
const ATTENDS: readonly Flag[] = ['subgroups', 'f32'];

/** What heads are rotated with, after their norms where they have some. */
const rotating = ({ queryNorm, keyNorm }: Extract<Step, { op: 'rope_store' }>): string[] => [
  'angles',
  ...(queryNorm === null ? [] : [`layer.${queryNorm}`, `layer.${keyNorm}`]),
];

class Launches {
  readonly views: WgslViews;
  readonly shaders = new Shaders();

  constructor(plan: Plan, workgroups?: number) {
    this.views = new WgslViews(plan, workgroups);
  }

  multiply(step: BitLinear, takes: 'one' | 'few' | 'many'): Launch {
    const { views, shaders } = this;
    const { use, codes, scales, q, quant, out } = step;
    const weights = [`layer.${codes}`, `layer.${scales}`];
    if (takes === 'many') {
      const shader = shaders.add(`${use}_gemm`, 'gemm.wgsl', MULTIPLIES, views.matrix(step));
      const bind = ['step', ...weights, q, quant, out];
      return { shader, bind, over: `layer.${codes}`, x: { each: 4 }, y: { of: 'tokens', each: 64 } };
    }
    const quantiser = views.quantiserOf(step);
    const fused = takes === 'one' && views.fuses(quantiser);
    const tokens = takes === 'one' ? 1 : FEW;
    const view = views.gemv(step, tokens, fused);
    const shader = shaders.add(`${use}_gemv${tokens === 1 ? '' : tokens}`, 'gemv.wgsl', GEMV, view);
    const norm = fused && quantiser.norm !== null ? [`layer.${quantiser.norm}`] : [];
    const bind = [...weights, q, quant, out, ...(fused ? [quantiser.input, ...norm] : [])];
    return { shader, bind, over: `layer.${codes}`, x: { each: view.mine } };
  }

  of(step: Step, takes: 'one' | 'few' | 'many'): Launch[] {
    const { views, shaders } = this;
    const { plan } = views;
    const tokens = { of: 'tokens', each: 1 } as const;
    switch (step.op) {
      case 'embed': {
        const table = views.table(views.tensor('shared', step.table));
        const outStride = views.stride(step.out);
        const scale = step.scale === null ? null : wgslFloat(step.scale);
        const shader = shaders.add('embed', 'embed.wgsl', [], { ...table, outStride, scale });
        const over = `shared.${step.table}`;
        return [{ shader, bind: ['step', over, step.out], over, x: Math.ceil(outStride / 64), y: tokens }];
      }
      case 'norm': {
        const outQuads = views.stride(step.out) / 4;
        const title = `${step.norm} of ${step.input}${step.accumulate ? `, added to ${step.out}` : ''}: a workgroup a token.`;
        const view = { ...views.row(step.input, step.size, step.norm), outQuads, accumulate: step.accumulate, title };
        const shader = shaders.add(`${step.norm}_of_${step.input}`, 'norm.wgsl', REDUCES, view);
        return [{ shader, bind: [step.input, step.out, `layer.${step.norm}`], x: 1, y: tokens }];
      }
      case 'norm_quantise':
      case 'gated_quantise': {
        if (takes === 'one' && views.fuses(step)) return [];
        const shader = shaders.add(
          `${step.q}_of_${step.norm ?? step.input}`,
          'norm_quantise.wgsl',
          REDUCES,
          views.quantising(step),
        );
        const norm = step.norm === null ? [] : [`layer.${step.norm}`];
        return [{ shader, bind: [step.input, step.q, step.quant, ...norm], x: 1, y: tokens }];
      }
      case 'bitlinear':
        return [this.multiply(step, takes)];
      case 'rope_store': {
        if (takes === 'one' && views.attendsAtOnce) return [];
        const { heads, kvHeads } = plan.hyper;
        const view = { ...views.attention(), ...views.rotation(step) };
        const shader = shaders.add('rope', 'rope.wgsl', ['f32'], view);
        const bind = ['step', step.qkv, 'kv', ...rotating(step)];
        return [{ shader, bind, x: heads + 2 * kvHeads, y: tokens }];
      }
      case 'attention': {
        const view = { ...views.attention(), outStride: views.stride(step.out) };
        const bind = ['step', step.qkv, 'kv', step.out, 'parts'];
        const x = plan.hyper.heads;
        const combine = shaders.add('combine', 'combine.wgsl', [], view);
        const together: Launch = { shader: combine, bind: ['step', 'parts', step.out], x, y: tokens, when: 'split' };
        const rope = plan.layer.find((other) => other.op === 'rope_store');
        if (takes === 'one' && views.attendsAtOnce && rope) {
          const one = { ...views.attentionOfOne(), ...views.rotation(rope) };
          const shader = shaders.add('attention_one', 'attention_one.wgsl', ATTENDS, one);
          return [{ shader, bind: [...bind, ...rotating(rope)], x, split: true }, together];
        }
        const shader = shaders.add('attention', 'attention.wgsl', ATTENDS, view);
        const any: Launch = { shader, bind, x, y: tokens, split: true };
        if (takes !== 'many' || !views.attendsAtOnce) return [any, together];
        const many = { ...views.attentionOfMany(), outStride: view.outStride };
        const following: Launch = {
          shader: shaders.add('attention_many', 'attention_many.wgsl', ['f32'], many),
          bind: bind.slice(0, 4),
          x,
          y: { of: 'tokens', each: many.queries },
          when: 'following',
        };
        return [following, { ...any, when: 'scattered' }];
      }
      case 'final_norm': {
        const view = {
          ...views.row(step.input, plan.hyper.embedding, step.norm),
          outQuads: views.stride(step.out) / 4,
        };
        const shader = shaders.add('final_norm', 'final_norm.wgsl', REDUCES, view);
        return [{ shader, bind: ['step', step.input, `shared.${step.norm}`, step.out, 'states'], x: 1, y: tokens }];
      }
      case 'head':
        return [this.head(step.input, 1), this.head(step.input, HEAD_ROWS)];
    }
  }

  head(input: string, tokens: number): Launch {
    const view = this.views.head(tokens);
    const { name } = headTable(this.views.plan);
    const template = view.tiled ? 'head_tiles.wgsl' : 'head_rows.wgsl';
    const flags = view.tiled && !view.f16 ? REDUCES : [];
    const shader = this.shaders.add(tokens === 1 ? 'head' : `head${tokens}`, template, flags, view);
    return {
      shader,
      bind: ['step', `shared.${name}`, input, 'logits'],
      over: `shared.${name}`,
      x: { each: view.tiled ? 128 : 8 },
      y: { of: 'rows', each: tokens },
      when: tokens === 1 ? 'one row' : 'several rows',
    };
  }
}

/** A packed tensor as it is bound. */
function tensorOf(tensor: PackedTensor): GpuTensor {
  const { name, offset, bytes } = tensor;
  if (tensor.kind === 'codes') {
    const total = tensor.rows / 16;
    return { name, offset, bytes, units: { places: 1, bytes: bytes / total, total } };
  }
  if (tensor.kind !== 'rows') return { name, offset, bytes };
  // Two rows are whole words, whatever they are encoded in.
  const places = tensor.tiled ? 16 : 2;
  const each = tensor.tiled ? bytes / Math.ceil(tensor.rows / 16) : (places * bytes) / tensor.rows;
  return { name, offset, bytes, units: { places, bytes: each, total: tensor.rows } };
}

function samplingLaunches({ shaders }: Launches): Pick<WebGpuProgram, 'greedy' | 'choices'> {
  const add = (name: string) => shaders.add(name, `${name}.wgsl`, [], SAMPLING);
  const x = SAMPLING.slices;
  const largest: Launch = { shader: add('largest'), bind: ['step', 'logits', 'slices', 'bins'], x };
  return {
    greedy: [largest, { shader: add('choose'), bind: ['slices', 'found'], x: 1 }],
    choices: [
      largest,
      { shader: add('histogram'), bind: ['step', 'logits', 'slices', 'bins'], x },
      { shader: add('collect'), bind: ['step', 'logits', 'slices', 'bins', 'more', 'found'], x },
    ],
  };
}

/** Each kernel of each ternary matrix, as it is to be tried. */
function trialsOf(launches: Launches): Trial[] {
  const { plan } = launches.views;
  const choices = selectWebGpuKernels(plan);
  const matrices = plan.layer.filter((step) => step.op === 'bitlinear');
  return matrices.flatMap((step, i) => {
    const { m, k, q, quant, out } = step;
    const { gemv, gemm, others = [] } = choices[i]!;
    const trial = (kernel: string, tokens: number, launch: Launch): Trial => ({
      kernel,
      m,
      k,
      tokens,
      q,
      quant,
      out,
      launch,
    });
    return [
      trial(gemv.name, 1, launches.multiply(step, 'one')),
      trial(gemm.name, TRIAL_TOKENS, launches.multiply(step, 'many')),
      trial(others[0]!.name, FEW, launches.multiply(step, 'few')),
    ];
  });
}

/** A program without the key that its own text makes. */
export type Unkeyed = Omit<WebGpuProgram, 'key'>;

/**
 * Everything of a model that a runtime needs to compute with WebGPU, beside its weights.
 * @param workgroups that fill the GPU; as many as a large one has by default
 */
export function renderWebGpu(plan: Plan, workgroups?: number): Unkeyed {
  const launches = new Launches(plan, workgroups);
  const { hyper, weights } = plan;
  const programs = (['one', 'few', 'many'] as const).map((takes): StepProgram => {
    const maxTokens = { one: 1, few: FEW, many: plan.maxTokens }[takes];
    const [prologue, layer, epilogue] = [plan.prologue, plan.layer, plan.epilogue].map((steps) =>
      steps.flatMap((step) => launches.of(step, takes)),
    ) as [Launch[], Launch[], Launch[]];
    const run = takes === 'one' && launches.views.attendsAtOnce ? WHOLE : RUN;
    return { maxTokens, run, prologue, layer, epilogue };
  });
  const sampling = samplingLaunches(launches);
  const trials = trialsOf(launches);
  const { shaders } = launches;
  shaders.add('probe_read', 'probe_read.wgsl', [], { vectors: READ_VECTORS });
  shaders.add('probe_dot', 'probe_dot.wgsl', MULTIPLIES, { rounds: DOT_ROUNDS });
  return {
    version: WEBGPU_VERSION,
    layers: hyper.layers,
    vocab: hyper.vocab,
    embedding: hyper.embedding,
    context: hyper.context,
    heads: hyper.heads,
    kvHeads: hyper.kvHeads,
    headDim: hyper.headDim,
    frequencies: plan.ropeFrequencies,
    localFrequencies: plan.localFrequencies,
    window: hyper.window ? { positions: hyper.window.positions, local: hyper.window.local } : null,
    buffers: Object.fromEntries(plan.buffers.map(({ name, bytes }) => [name, bytes])),
    weights: {
      shared: weights.shared.map(tensorOf),
      layer: weights.layer.map(tensorOf),
      layerBase: weights.layerBase,
      layerBytes: weights.layerBytes,
      bytes: weights.bytes,
    },
    shaders: shaders.all,
    fused: primitives('fused'),
    programs,
    ...sampling,
    sampling: SAMPLING,
    whole: WHOLE,
    trials,
    probes: { readBytes: 256 * 16 * READ_VECTORS, macs: 256 * 16 * 4 * DOT_ROUNDS },
  };
}

/** The shaders as files, a variant each. */
export const shaderSources = ({ shaders }: Pick<WebGpuProgram, 'shaders'>): Source[] =>
  Object.entries(shaders).flatMap(([name, { variants }]) =>
    Object.entries(variants).map(([variant, text]) => ({
      file: `shaders/${name}${variant === '' ? '' : `.${variant}`}.wgsl`,
      text,
    })),
  );
