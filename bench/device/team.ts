// Two GPUs that share a model beside one: the same logits bit for bit, the speed of both, and a model of 100 billion weights.
import { execFileSync } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { number } from '../../cli/format.ts';
import { buildArtifact } from '../../compiler/build/artifact.ts';
import { findGpuCompiler } from '../../compiler/build/find-gpu-compiler.ts';
import { gpuProgram, gpuTarget, parseArchitectures } from '../../compiler/build/gpu-program.ts';
import { importModel } from '../../compiler/import/index.ts';
import { compile } from '../../compiler/index.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { selectGpuKernels } from '../../compiler/passes/select-gpu-kernels.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { type LoadOptions, type Model, openArtifact, readArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { measureModel } from '../model/measure.ts';
import { rowName } from '../report/result.ts';
import { type Shape, synthesize } from '../shapes/index.ts';
import { shapeByName } from '../shapes/shapes.ts';
import { type CheckedModel, checkedModels } from './models.ts';

const ONE = { target: 'cuda', device: 0 } as const;
const TWO = { target: 'cuda', devices: [0, 1] } as const;

/** What the small models lack: rows that come out even, with KV heads that do not. */
const ODD_HEADS: Shape = {
  architecture: 'llama',
  embedding: 512,
  ffn: 1152,
  layers: 3,
  heads: 6,
  kvHeads: 1,
  headDim: 128,
  vocab: 1100,
  ropeBase: 500000,
  context: 1024,
  tied: false,
};
/** Rows so wide that GEMVs do not norm them for themselves. */
const WIDE: Shape = { ...ODD_HEADS, architecture: 'bitnet-b1.58', ffn: 20480, heads: 8, kvHeads: 2, layers: 2 };
/** 100 billion weights, nearly. */
const HUGE: Shape = {
  architecture: 'bitnet-b1.58',
  embedding: 8192,
  ffn: 45568,
  layers: 72,
  heads: 64,
  kvHeads: 8,
  headDim: 128,
  vocab: 128256,
  ropeBase: 500000,
  context: 4096,
  tied: true,
};

/** What one GPU computes and two do. */
export interface Agreement {
  readonly model: string;
  /** Logits that differ in any bit, by the tokens of a step. */
  readonly differing: Readonly<Record<string, number>>;
  readonly stories: boolean;
  readonly ok: boolean;
}

const STEPS: Readonly<Record<string, LoadOptions>> = {
  'steps of 2048': { prefillChunk: 2048 },
  'steps of 40': { prefillChunk: 40 },
  'steps of 1': { prefillChunk: 1 },
  'float32 cache, steps of 1': { prefillChunk: 1, kv: 'f32' },
};

const tokensOf = (count: number, vocab: number) => Array.from({ length: count }, (_, i) => (i * 37 + 11) % vocab);

async function stories(model: Model, vocab: number): Promise<string> {
  const tell = (from: number, temperature: number) =>
    model.generate(tokensOf(5 + from, vocab), { temperature, seed: 1, maxTokens: 100, ignoreEos: true }).result;
  const alone = await tell(0, 0);
  const many = await Promise.all([1, 2, 3, 4, 5, 6].map((from) => tell(from, from % 2 ? 0 : 0.8)));
  return [alone, ...many].map(({ tokens }) => tokens.join(',')).join('\n');
}

async function agreement({ name, path, vocab }: CheckedModel, out: string): Promise<Agreement> {
  const artifact = (await compile(path, { target: 'cuda', out })).artifact;
  await compile(path, { target: 'cuda', gpus: 2, out });
  const differing: Record<string, number> = {};
  const tokens = tokensOf(700, vocab);
  let told: string[] = [];
  for (const [title, options] of Object.entries(STEPS)) {
    const open = (on: LoadOptions) => openArtifact(artifact, { ...options, ...on, sequences: 8 });
    await using one = await open(ONE);
    await using two = await open(TWO);
    const [a, b] = [await one.logits(tokens), await two.logits(tokens)].map(({ data }) => new Uint32Array(data.buffer));
    differing[title] = a!.reduce((count, bits, i) => count + (bits === b![i] ? 0 : 1), a!.length === b!.length ? 0 : 1);
    if (told.length === 0) told = [await stories(one, vocab), await stories(two, vocab)];
  }
  const same = told[0] === told[1];
  const ok = same && Object.values(differing).every((count) => count === 0);
  console.log(
    `${ok ? 'equal' : 'DIFFERENT'}: ${name}, ${JSON.stringify(differing)}, stories ${same ? 'equal' : 'differ'}`,
  );
  return { model: name, differing, stories: same, ok };
}

/** The checked models and two more, all of which rows come out even of, and one that cannot be shared. */
async function subjects(scratch: string): Promise<CheckedModel[]> {
  const models = await checkedModels(scratch);
  for (const [name, shape] of Object.entries({ 'odd-heads': ODD_HEADS, wide: WIDE })) {
    const path = join(scratch, `${name}.gguf`);
    await synthesize(shape, path, { headEncoding: 'q6_k' });
    models.push({ name, path, vocab: shape.vocab });
  }
  return models;
}

async function agreements(models: readonly CheckedModel[], out: string): Promise<(Agreement | string)[]> {
  const found: (Agreement | string)[] = [];
  for (const model of models) {
    try {
      found.push(await agreement(model, out));
    } catch (error) {
      found.push(`${model.name}: ${(error as Error).message}`);
      console.log(found.at(-1));
    }
  }
  return found;
}

/** Builds the programs of all models for one GPU and for two at the same time, so that each is found when it is wanted. */
async function buildAll(models: readonly ModelIR[], scratch: string): Promise<void> {
  const compiler = await findGpuCompiler();
  const architectures = await parseArchitectures(undefined, compiler);
  const jobs = models.flatMap((ir) => [1, 2].map((gpus) => ({ plan: planForGpu(ir), gpus })));
  const build = async ({ plan, gpus }: (typeof jobs)[number]) => {
    const program = gpuProgram(selectGpuKernels(plan, gpus), renderCuda(plan, gpus), compiler, architectures, gpus);
    await program.write(await mkdtemp(join(scratch, 'program-')));
  };
  // A model that cannot be shared is told of when it is its turn.
  await Promise.allSettled(jobs.map(build));
}

/** Kernels of a step by name, as the runner tells them. */
async function profile(artifact: string, gpus: number, step: Readonly<Record<string, number>>) {
  const { manifest } = await readArtifact(artifact);
  const { library, layout } = manifest.targets[gpuTarget(gpus)]!;
  const files = [join(artifact, library), join(artifact, manifest.weights[layout]!.file)];
  const options = Object.entries(step).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const devices = gpus > 1 ? ['--devices', Array.from({ length: gpus }, (_, i) => i).join(',')] : [];
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  const text = execFileSync(runner, ['profile', ...files, ...options, ...devices], { encoding: 'utf8' });
  const kernels = text
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('{')) // NCCL may print its version
    .map((line): { kernel: string; launches: number; microseconds: number } => JSON.parse(line));
  console.log(`  ${gpus} GPUs, ${JSON.stringify(step)}`);
  for (const { kernel, launches, microseconds } of kernels) {
    console.log(`    ${kernel.padEnd(30)} ${String(launches).padStart(4)} × ${number(microseconds / launches)} µs`);
  }
  return { gpus, ...step, kernels };
}

const PROFILED = [
  { tokens: 1, position: 128, sequences: 1 },
  { tokens: 2048, position: 0, sequences: 1 },
];

async function speeds(artifact: string, more: { readonly promptTokens: number[]; readonly sequences: number[] }) {
  const found: Record<string, unknown> = {};
  for (const [name, on] of Object.entries({ one: ONE, two: TWO })) {
    const options = { ...more, contexts: [128], newTokens: 64, repetitions: 3 };
    const report = await measureModel(artifact, { ...options, ...on });
    for (const row of report.rows) {
      console.log(`${name}: ${rowName(row).padEnd(40)} ${number(row.tokensPerSecond.median).padStart(8)} tokens/s`);
    }
    const kernels = [];
    for (const step of PROFILED) kernels.push(await profile(artifact, name === 'one' ? 1 : 2, step));
    found[name] = { ...report, kernels };
  }
  return found;
}

/** A model of that shape, every layer with the weights of the first: a file of one layer has all that there is to read. */
async function repeated(shape: Shape, scratch: string): Promise<ModelIR> {
  const path = join(scratch, 'huge.gguf');
  await synthesize(shape, path, { layers: 1, headEncoding: 'q6_k' });
  const ir = await importModel(path);
  const tensors = ir.tensors.flatMap((tensor) =>
    tensor.name.startsWith('blk.0.')
      ? Array.from({ length: shape.layers }, (_, i) => ({
          ...tensor,
          name: tensor.name.replace('blk.0.', `blk.${i}.`),
        }))
      : [tensor],
  );
  return { ...ir, hyper: { ...ir.hyper, layers: shape.layers }, tensors };
}

async function seconds<T>(what: string, work: Promise<T>): Promise<T> {
  const start = performance.now();
  const result = await work;
  console.log(`${what}: ${((performance.now() - start) / 1000).toFixed(1)} s`);
  return result;
}

async function huge(ir: ModelIR, out: string) {
  const plan = planForGpu(ir);
  const compiler = await findGpuCompiler();
  const architectures = await parseArchitectures(undefined, compiler);
  const programs = [1, 2].map((gpus) =>
    gpuProgram(selectGpuKernels(plan, gpus), renderCuda(plan, gpus), compiler, architectures, gpus),
  );
  const { artifact } = await seconds('packing and compiling', buildArtifact(ir, plan, programs, { out }));
  const tokens = tokensOf(200, HUGE.vocab);
  const told: string[] = [];
  const opened: Record<string, unknown> = {};
  for (const [name, on] of Object.entries({ one: ONE, two: TWO })) {
    await using model = await seconds(
      `${name}: opening`,
      openArtifact(artifact, { ...on, contextLength: 4096, sequences: 4 }),
    );
    const asked = { promptTokens: [512], newTokens: 32, contexts: [128], sequences: [1, 4], repetitions: 3 };
    opened[name] = { device: model.device, ...model.memory(), speed: await model.benchmark(asked) };
    const { tokens: story } = await model.generate(tokens, { temperature: 0, maxTokens: 32, ignoreEos: true }).result;
    told.push(story.join(','));
    console.log(`${name}: ${JSON.stringify(opened[name])}`);
  }
  console.log(`100B, greedy: ${told[0] === told[1] ? 'equal' : 'DIFFERENT'}`);
  const kernels = [];
  for (const gpus of [1, 2]) kernels.push(await profile(artifact, gpus, PROFILED[0]!));
  return { shape: HUGE, opened, equal: told[0] === told[1], kernels };
}

/** All of it, told part by part. */
export async function team(
  scratch: string,
  parts: readonly string[],
  keep: (part: string, found: unknown) => Promise<void>,
): Promise<void> {
  const out = join(scratch, 'generated');
  const path = join(scratch, '2b4t.gguf');
  const models = parts.includes('agreement') ? await subjects(scratch) : [];
  if (parts.includes('2b4t')) await synthesize(shapeByName('2b4t'), path, { headEncoding: 'q6_k' });
  const large = parts.includes('huge') ? await seconds('making one layer', repeated(HUGE, scratch)) : undefined;
  const files = [...models.map((model) => model.path), ...(parts.includes('2b4t') ? [path] : [])];
  const irs = [...(await Promise.all(files.map((file) => importModel(file)))), ...(large ? [large] : [])];
  await seconds('building all programs', buildAll(irs, scratch));
  const work: Readonly<Record<string, () => Promise<unknown>>> = {
    agreement: () => agreements(models, out),
    '2b4t': async () => {
      const { artifact } = await compile(path, { target: 'cuda', out });
      await compile(path, { target: 'cuda', gpus: 2, out });
      return await speeds(artifact, { promptTokens: [512, 2048], sequences: [1, 8, 64] });
    },
    huge: () => huge(large!, out),
  };
  for (const part of parts) {
    try {
      await keep(part, await seconds(part, work[part]!()));
    } catch (error) {
      console.log(`${part}: ${(error as Error).stack}`);
      await keep(part, String(error));
    }
  }
}
