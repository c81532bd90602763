// Everything about target cuda on one machine with a GPU: builds, checks against the reference, times, and keeps it all.
//   node --import tsx bench/device/main.ts [--shape 2b4t] [--heads f16,q6_k] [--out FILE] [--only checks|times]
//                                          [--prompts 512,2048] [--sequences 1,8,64] [--contexts 0,128,2048]
// On a bare machine: npm run bench:device makes a folder that has all it needs but nvcc; run its run.sh there.
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { number } from '../../cli/format.ts';
import { compile } from '../../compiler/index.ts';
import { defaultModel, type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { measureModel } from '../model/measure.ts';
import { rowName } from '../report/result.ts';
import { type Shape, synthesize } from '../shapes/index.ts';
import { shapeByName } from '../shapes/shapes.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2b4t' },
    heads: { type: 'string', default: 'q6_k' },
    out: { type: 'string' },
    only: { type: 'string' },
    prompts: { type: 'string', default: '512,2048' },
    sequences: { type: 'string', default: '1,8,64' },
    contexts: { type: 'string', default: '0,128,2048' },
    'new-tokens': { type: 'string', default: '128' },
    repetitions: { type: 'string', default: '6' },
  },
});

type HeadEncoding = 'f16' | 'q8_0' | 'q6_k';

/** Small models that take the paths which the default model does not: other heads, heads of 128, no sub-norms. */
const SMALL: Shape = {
  architecture: 'bitnet-b1.58',
  embedding: 512,
  ffn: 1152,
  layers: 3,
  heads: 4,
  kvHeads: 2,
  headDim: 128,
  vocab: 1003,
  ropeBase: 500000,
  context: 1024,
  tied: true,
};
const CHECKED: Readonly<Record<string, readonly [Shape, HeadEncoding]>> = {
  'flash-f16': [SMALL, 'f16'],
  'flash-q8_0': [SMALL, 'q8_0'],
  'flash-q6_k': [SMALL, 'q6_k'],
  'flash-llama': [
    { ...SMALL, architecture: 'llama', heads: 6, kvHeads: 1, ffn: 700, vocab: 1100, tied: false },
    'q8_0',
  ],
  'any-qwen3': [{ ...SMALL, architecture: 'qwen3', headDim: 96, tied: false }, 'f16'],
  'any-gemma3': [{ ...SMALL, architecture: 'gemma3', headDim: 64, ffn: 700 }, 'q8_0'],
};

/** |cuda - ref| / |ref| of a position's logits, and at how many positions both have the same largest logit. */
interface Difference {
  readonly median: number;
  readonly worst: number;
  readonly agreeing: number;
}

interface Check {
  readonly model: string;
  readonly tokens: number;
  /** By how many tokens a step has: all, some, one. */
  readonly steps: Readonly<Record<string, Difference>>;
  /** Tokens of a greedy continuation that are equal, of how many. */
  readonly story: { readonly equal: number; readonly of: number };
}

const CHUNKS = [2048, 40, 1];
const STORY = 250;

const counts = (text: string) => text.split(',').map(Number);
const scratch = await mkdtemp(join(tmpdir(), 'bitnet-device-'));

function difference(actual: Float32Array, expected: Float32Array, vocab: number): Difference {
  const errors: number[] = [];
  let agreeing = 0;
  for (let row = 0; row < expected.length / vocab; row++) {
    const [a, b] = [actual, expected].map((all) => all.subarray(row * vocab, (row + 1) * vocab)) as [
      Float32Array,
      Float32Array,
    ];
    let [distance, length, ours, theirs] = [0, 0, 0, 0];
    for (let i = 0; i < vocab; i++) {
      distance += (a[i]! - b[i]!) ** 2;
      length += b[i]! ** 2;
      if (a[i]! > a[ours]!) ours = i;
      if (b[i]! > b[theirs]!) theirs = i;
    }
    errors.push(Math.sqrt(distance / length));
    if (ours === theirs) agreeing++;
  }
  errors.sort((a, b) => a - b);
  return { median: errors[errors.length >> 1]!, worst: errors.at(-1)!, agreeing };
}

const greedy = async (model: Model, prompt: readonly number[]): Promise<readonly number[]> =>
  (await model.generate(prompt, { temperature: 0, maxTokens: STORY, ignoreEos: true }).result).tokens;

async function check(name: string, path: string, tokens: readonly number[]): Promise<Check> {
  const out = join(scratch, 'generated');
  const { artifact: ours } = await compile(path, { target: 'cuda', out });
  const { artifact: theirs } = await compile(path, { target: 'ref', out });
  await using reference = await openArtifact(theirs);
  const { data: expected, vocab } = await reference.logits(tokens);
  const prompt = tokens.slice(0, 5);
  const told = await greedy(reference, prompt);
  const steps: Record<string, Difference> = {};
  let equal = 0;
  for (const prefillChunk of CHUNKS) {
    await using gpu = await openArtifact(ours, { prefillChunk });
    steps[prefillChunk] = difference((await gpu.logits(tokens)).data, expected, vocab);
    if (prefillChunk !== CHUNKS[0]) continue;
    const retold = await greedy(gpu, prompt);
    const differs = told.findIndex((token, i) => token !== retold[i]);
    equal = differs < 0 ? told.length : differs;
  }
  return { model: name, tokens: tokens.length, steps, story: { equal, of: told.length } };
}

function print({ model, tokens, steps, story }: Check): void {
  for (const [chunk, { median, worst, agreeing }] of Object.entries(steps)) {
    const errors = `median ${median.toExponential(1)}, worst ${worst.toExponential(1)}`;
    console.log(`${model.padEnd(14)} steps of ${chunk.padStart(4)}: ${errors}, ${agreeing} of ${tokens} agree`);
  }
  console.log(`${model.padEnd(14)} greedy: ${story.equal} of ${story.of} tokens equal`);
}

async function checks(): Promise<Check[]> {
  const evaluation = await readFile(join(packageRoot(), 'models', 'eval_tokens.txt'), 'utf8');
  const done = [
    await check('default', defaultModel(), counts(evaluation.trim().replace(/[\s,]+/g, ',')).slice(0, 300)),
  ];
  print(done[0]!);
  for (const [name, [shape, headEncoding]] of Object.entries(CHECKED)) {
    const path = join(scratch, `${name}.gguf`);
    await synthesize(shape, path, { headEncoding });
    const tokens = Array.from({ length: 400 }, (_, i) => (i * 37 + 11) % shape.vocab);
    done.push(await check(name, path, tokens));
    print(done.at(-1)!);
  }
  return done;
}

/** What a step is made of: kernels by name, each timed alone; `step` is all of it as it runs. */
const PROFILED = [
  { tokens: 1, position: 128, sequences: 1 },
  { tokens: 1, position: 2048, sequences: 1 },
  { tokens: 1, position: 128, sequences: 8 },
  { tokens: 1, position: 128, sequences: 64 },
  { tokens: 2048, position: 0, sequences: 1 },
] as const;

async function profile(path: string) {
  const { artifact, manifest } = await compile(path, { target: 'cuda', out: join(scratch, 'generated') });
  const { library, layout } = manifest.targets.cuda!;
  const files = [join(artifact, library), join(artifact, manifest.weights[layout]!.file)];
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  return PROFILED.map((step) => {
    const options = Object.entries(step).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const lines = execFileSync(runner, ['profile', ...files, ...options], { encoding: 'utf8' })
      .trim()
      .split('\n');
    const kernels = lines.map((line): Kernel => JSON.parse(line));
    console.log(`  ${JSON.stringify(step)}`);
    for (const { kernel, launches, microseconds } of kernels) {
      console.log(`    ${kernel.padEnd(30)} ${String(launches).padStart(4)} × ${number(microseconds / launches)} µs`);
    }
    return { ...step, kernels };
  });
}

interface Kernel {
  readonly kernel: string;
  readonly launches: number;
  readonly microseconds: number;
}

async function times() {
  const reports: Record<string, object> = {};
  for (const headEncoding of values.heads.split(',') as HeadEncoding[]) {
    const path = join(scratch, `${values.shape}-${headEncoding}.gguf`);
    await synthesize(shapeByName(values.shape), path, { headEncoding });
    const report = await measureModel(path, {
      target: 'cuda',
      promptTokens: counts(values.prompts),
      sequences: counts(values.sequences),
      contexts: counts(values.contexts),
      newTokens: Number(values['new-tokens']),
      repetitions: Number(values.repetitions),
      out: join(scratch, 'generated'),
    });
    reports[headEncoding] = { ...report, kernels: await profile(path) };
    await rm(path);
    console.log(`${values.shape}, head ${headEncoding}:`);
    for (const row of report.rows) {
      const share = `${Math.round(100 * row.share.median)}% of ${row.bound}`;
      console.log(`${rowName(row).padEnd(40)} ${number(row.tokensPerSecond.median).padStart(8)} tokens/s, ${share}`);
    }
  }
  return reports;
}

try {
  const query = ['--query-gpu=name,driver_version', '--format=csv,noheader'];
  const [name, driver] = execFileSync('nvidia-smi', query, { encoding: 'utf8' }).trim().split(/, |\n/) as [
    string,
    string,
  ];
  const report = {
    device: name,
    driver,
    date: new Date().toISOString().slice(0, 10),
    shape: values.shape,
    ...(values.only === 'times' ? {} : { checks: await checks() }),
    ...(values.only === 'checks' ? {} : { times: await times() }),
  };
  const slug = name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
  const file = values.out ?? join(packageRoot(), 'bench', 'results', `cuda-${slug}.json`);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  console.log(file);
} finally {
  await rm(scratch, { recursive: true, force: true });
}
