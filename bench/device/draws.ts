// Tokens that a GPU draws, against those that the CPU's sampler draws from the same logits, and the time that it takes.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compile } from '../../compiler/index.ts';
import { type GenerateOptions, type Model, openArtifact } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { readArtifact } from '../../runtime/src/index.ts';
import { synthesize } from '../shapes/index.ts';
import { Random } from '../shapes/random.ts';
import { SMALL } from './models.ts';

/** What the runner's `draw` takes of a text. */
interface DrawnText {
  readonly options: GenerateOptions;
  readonly tokens: readonly number[];
}

interface Drawn {
  readonly drawn: number;
  readonly differ: number;
  /** Of a step, its kernels alone; the median. */
  readonly microseconds: number;
  readonly texts: readonly (readonly number[])[];
}

/** The program for a GPU, its weights, and how many logits a row has. */
interface Program {
  readonly library: string;
  readonly weights: string;
  readonly vocab: number;
}

const NEUTRAL = { topK: 0, topP: 1, minP: 0 } as const;

/** Settings by what they make the sampler do. */
const SETTINGS: Readonly<Record<string, GenerateOptions>> = {
  greedy: { temperature: 0 },
  'greedy, penalties': { temperature: 0, repetitionPenalty: 1.3, frequencyPenalty: 0.1 },
  temperature: { ...NEUTRAL, temperature: 1 },
  'min-p': { ...NEUTRAL, temperature: 0.8, minP: 0.05 },
  'top-k': { ...NEUTRAL, temperature: 0.7, topK: 40 },
  'top-p': { ...NEUTRAL, temperature: 0.8, topP: 0.95 },
  'top-k, top-p, min-p': { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.05 },
  all: {
    temperature: 1.1,
    topK: 400,
    topP: 0.9,
    minP: 0.01,
    repetitionPenalty: 1.2,
    presencePenalty: 0.3,
    frequencyPenalty: 0.05,
    logitBias: { 5: 4, 77: Number.NEGATIVE_INFINITY, 300: 8 },
  },
};

/** Has the tokens of `texts` drawn, step by step: `row(step, text)` gives logits. */
function draw(
  program: Program,
  texts: readonly DrawnText[],
  steps: number,
  row: (step: number, text: number) => Float32Array,
  folder: string,
): Drawn {
  const parts: ArrayBufferView[] = [Int32Array.of(texts.length, steps)];
  for (const { options, tokens } of texts) {
    const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0.05, penaltyLastN = 64, seed = 0 } = options;
    const { repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
    const numbers = [temperature, topK, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty, penaltyLastN];
    const biases = Object.entries(logitBias);
    parts.push(Float64Array.from(numbers), BigUint64Array.of(BigInt(seed)), Int32Array.of(biases.length));
    for (const [id, bias] of biases) parts.push(Int32Array.of(Number(id)), Float32Array.of(bias));
    parts.push(Int32Array.of(tokens.length, ...tokens));
  }
  for (let step = 0; step < steps; step++) parts.push(...texts.map((_, text) => row(step, text)));
  const file = join(folder, 'draws');
  const bytes = parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  writeFileSync(file, Buffer.concat(bytes));
  const runner = join(packageRoot(), 'build', 'addon', 'runner');
  return JSON.parse(execFileSync(runner, ['draw', program.library, program.weights, file], { encoding: 'utf8' }));
}

const one = <T>(random: Random, of: readonly T[]): T => of[random.integer(of.length)]!;

/** Logits as models have them, and as none should. */
function someLogits(random: Random, vocab: number, hostile: boolean): Float32Array {
  const spread = hostile ? one(random, [2.5, 1, 0.2, 1e-3, 1e-7, 0, 30, 1e30]) : 2.5;
  const row = Float32Array.from({ length: vocab }, () => spread * random.normal());
  if (!hostile) return row;
  const odd = [Number.NaN, Infinity, -Infinity, -0, 0, 3.4e38, -3.4e38, 1e-45];
  for (let i = one(random, [0, 0, 1, 3, vocab >> 1, vocab]); i > 0; i--) row[random.integer(vocab)] = one(random, odd);
  return random.integer(40) === 0 ? row.fill(one(random, odd)) : row;
}

function someOptions(random: Random, vocab: number): GenerateOptions {
  const penalised = random.integer(2) === 0;
  return {
    temperature: one(random, [0, 1, 0.7, 1e-3, 100, 2 * random.uniform()]),
    topK: one(random, [0, 0, 1, 40, vocab - 1, vocab, 1 + random.integer(vocab)]),
    topP: one(random, [1, 1, 0, 0.5, 0.95, random.uniform()]),
    minP: one(random, [0, 0, 0.05, 1, random.uniform()]),
    repetitionPenalty: penalised ? one(random, [1, 1.3, 0.01, 100]) : 1,
    presencePenalty: penalised ? one(random, [0, 0.5, -2]) : 0,
    frequencyPenalty: penalised ? one(random, [0, 0.1, -100]) : 0,
    penaltyLastN: one(random, [0, 1, 5, 64, 4096]),
    logitBias: Object.fromEntries(
      Array.from({ length: one(random, [0, 1, 5, 1500]) }, () => [
        random.integer(vocab),
        one(random, [-Infinity, 100, -100, 20 * random.uniform() - 10]),
      ]),
    ),
    seed: random.word() >>> 0,
  };
}

/** Random settings and hostile rows, of 1, 2 and 64 sequences. */
function drawChecks(program: Program, folder: string): Pick<Drawn, 'drawn' | 'differ'> {
  let [drawn, differ] = [0, 0];
  for (const [round, sequences] of [1, 1, 1, 1, 2, 2, 64].entries()) {
    const random = new Random(1 + round);
    const tokens = () =>
      Array.from({ length: 1 + random.integer(8) }, () => random.integer(Math.min(12, program.vocab)));
    const options = () => someOptions(random, program.vocab);
    const texts = Array.from({ length: sequences }, () => ({ options: options(), tokens: tokens() }));
    const steps = Math.min(200, Math.max(4, Math.floor(2 ** 24 / (program.vocab * sequences))));
    const found = draw(program, texts, steps, () => someLogits(random, program.vocab, true), folder);
    drawn += found.drawn;
    differ += found.differ;
  }
  return { drawn, differ };
}

/** Microseconds of a step's drawing, by settings and number of sequences, from logits like a model's. */
function drawTimes(program: Program, folder: string): Record<string, Record<number, number>> {
  const random = new Random(3);
  const rows = Array.from({ length: 8 }, () => someLogits(random, program.vocab, false));
  const row = (step: number, text: number) => rows[(step + text) % rows.length]!;
  const tokens = Array.from({ length: 20 }, (_, i) => (i * 37) % program.vocab);
  return Object.fromEntries(
    Object.entries(SETTINGS).map(([name, options]) => {
      const time = (sequences: number, steps: number) =>
        draw(program, Array(sequences).fill({ options, tokens }), steps, row, folder).microseconds;
      return [name, { 1: time(1, 15), 64: time(64, 4) }];
    }),
  );
}

async function programOf(artifact: string): Promise<Program> {
  const { manifest } = await readArtifact(artifact);
  const { library, layout } = manifest.targets.cuda!;
  const weights = join(artifact, manifest.weights[layout]!.file);
  return { library: join(artifact, library), weights, vocab: manifest.model.vocab };
}

interface Share {
  readonly equal: number;
  readonly of: number;
}

/** Tokens up to the first that is not the expected one. */
function share(tokens: readonly number[], expected: readonly number[]): Share {
  const differs = expected.findIndex((token, i) => token !== tokens[i]);
  return { equal: differs < 0 ? expected.length : differs, of: expected.length };
}

const sum = (shares: readonly Share[]): Share => ({
  equal: shares.reduce((all, { equal }) => all + equal, 0),
  of: shares.reduce((all, { of }) => all + of, 0),
});

const TEXT = 60;

/**
 * Texts with all settings, against what the CPU's sampler draws from the logits that `gpu` gives for them, step by step;
 * and the same texts all at once, where a rounding of the logits may differ, and then all that follows.
 */
async function drawTexts(gpu: Model, program: Program, folder: string) {
  const prompt = [3, 1, 4, 1, 5];
  const generate = async (options: GenerateOptions) =>
    (await gpu.generate(prompt, { ...options, seed: 7, maxTokens: TEXT, ignoreEos: true }).result).tokens;
  const all = Object.values(SETTINGS);
  const company = await Promise.all(all.map(generate));
  const [alone, together]: Share[][] = [[], []];
  for (const [i, settings] of all.entries()) {
    const tokens = await generate(settings);
    const { data, vocab } = await gpu.logits([...prompt, ...tokens]);
    const row = (step: number) => {
      const at = (prompt.length - 1 + step) * vocab;
      // Ids without a text are not drawn.
      return data.slice(at, at + vocab).fill(Number.NEGATIVE_INFINITY, gpu.tokenizer.vocab);
    };
    const { texts } = draw(
      program,
      [{ options: { ...settings, seed: 7 }, tokens: prompt }],
      tokens.length,
      row,
      folder,
    );
    alone.push(share(tokens, texts[0]!));
    together.push(share(company[i]!, tokens));
  }
  return { alone: sum(alone), together: sum(together) };
}

/** Checks what is drawn on every artifact, by name, and times it for a large vocabulary. */
export async function draws(artifacts: ReadonlyMap<string, string>, folder: string) {
  const checks: Record<string, object> = {};
  for (const [name, artifact] of artifacts) {
    const program = await programOf(artifact);
    const { drawn, differ } = drawChecks(program, folder);
    // Logits of one token a step, as a text alone has them.
    await using gpu = await openArtifact(artifact, {
      target: 'cuda',
      prefillChunk: 1,
      sequences: 8,
      contextLength: 128,
    });
    const texts = await drawTexts(gpu, program, folder);
    checks[name] = { drawn, differ, ...texts };
    const told = `texts alone ${texts.alone.equal}, together ${texts.together.equal} of ${texts.alone.of} tokens equal`;
    console.log(`${name.padEnd(12)} ${differ} of ${drawn} draws differ; ${told}`);
  }
  const path = join(folder, 'large-vocabulary.gguf');
  await synthesize({ ...SMALL, layers: 1, vocab: 128256 }, path, { headEncoding: 'q8_0' });
  const { artifact } = await compile(path, { target: 'cuda', out: join(folder, 'generated') });
  const large = await programOf(artifact);
  const { drawn, differ } = drawChecks(large, folder);
  checks['large vocabulary'] = { drawn, differ };
  console.log(`of 128256 logits ${differ} of ${drawn} draws differ`);
  const microseconds = drawTimes(large, folder);
  for (const [settings, { 1: one, 64: many }] of Object.entries(microseconds)) {
    console.log(`  ${settings.padEnd(20)} ${one!.toFixed(1)} µs, of 64 sequences ${many!.toFixed(1)} µs`);
  }
  return { checks, microseconds };
}
