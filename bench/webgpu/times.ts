// The speed of target webgpu: a model of a published shape, each kernel of a step, and what else could be done.
import { createReadStream, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WebGpuProgram } from '../../artifact/webgpu.ts';
import { compile, importModel } from '../../compiler/index.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { renderWebGpu } from '../../compiler/render/wgsl/index.ts';
import { COMPILER_VERSION } from '../../compiler/version.ts';
import { openArtifact } from '../../index.ts';
import type { Token } from '../../runtime/src/portable/executor.ts';
import { openDevice } from '../../runtime/src/webgpu/device.ts';
import type { WebGpuExecutor } from '../../runtime/src/webgpu/executor.ts';
import { loadWebGpu } from '../../runtime/src/webgpu/node.ts';
import { openExecutor } from '../../runtime/src/webgpu/open.ts';
import { synthesize } from '../shapes/index.ts';
import { shapeByName } from '../shapes/shapes.ts';
import type { Asked } from './main.ts';

const PROMPTS = [128, 512, 2048];
const CONTEXTS = [0, 128, 512, 1500];

let compiled: Promise<{ artifact: string; path: string }> | undefined;

/** A random model of the shape, compiled once. */
function model({ scratch, shape, head }: Asked): Promise<{ artifact: string; path: string }> {
  compiled ??= (async () => {
    const path = join(scratch, `${shape}.gguf`);
    const start = performance.now();
    await synthesize(shapeByName(shape), path, { headEncoding: head });
    console.log(`made in ${((performance.now() - start) / 1000).toFixed(1)} s`);
    const built = await compile(path, { target: 'webgpu', out: join(scratch, 'shape') });
    console.log(`compiled after ${((performance.now() - start) / 1000).toFixed(1)} s`);
    return { ...built, path };
  })();
  return compiled;
}

const token = (position: number, row = -1, sequence = 0): Token => ({
  id: 11 + (position % 1000),
  position,
  sequence,
  logitsRow: row,
  hiddenRow: -1,
});

/** Opens a compiled model without an engine; `change` may change its program. */
export async function executorOf(
  artifact: string,
  change: (program: WebGpuProgram) => WebGpuProgram = (program) => program,
): Promise<WebGpuExecutor> {
  const manifest = JSON.parse(readFileSync(join(artifact, 'manifest.json'), 'utf8'));
  const entry = manifest.targets.webgpu;
  const { bytes, file } = manifest.weights[entry.layout];
  const device = await openDevice(await loadWebGpu());
  const options = {
    key: entry.key,
    kernels: [],
    weightsBytes: bytes,
    context: Math.min(2048, manifest.model.context),
    kv: 'f16',
    sequences: 1,
    chunk: 512,
  } as const;
  const program = change(JSON.parse(readFileSync(join(artifact, entry.library), 'utf8')));
  const weights = createReadStream(join(artifact, file), { highWaterMark: 4 << 20 });
  return await openExecutor(device, options, JSON.stringify(program), weights, () => {});
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/** Milliseconds of steps of one token, from position `first` on, and how the time of one goes by. */
export async function decode(executor: WebGpuExecutor, first: number, count: number): Promise<void> {
  const { queue } = executor.device.gpu;
  const submit = queue.submit.bind(queue);
  let [before, after] = [0, 0];
  Object.defineProperty(queue, 'submit', {
    configurable: true,
    value: (commands: GPUCommandBuffer[]) => {
      before = performance.now();
      submit(commands);
      after = performance.now();
    },
  });
  const screen = { vocab: executor.vocab, keep: 1, margin: 0, rows: [] };
  const [encoding, submitting, waiting, all]: number[][] = [[], [], [], []];
  let id = token(first).id;
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const { found } = await executor.step([{ ...token(first + i, 0), id }], { screens: [screen] });
    const end = performance.now();
    id = found!.ids[0]!;
    if (i < 4) continue;
    encoding!.push(before - start);
    submitting!.push(after - before);
    waiting!.push(end - after);
    all!.push(end - start);
  }
  const [e, s, w, a] = [encoding!, submitting!, waiting!, all!].map(median);
  const parts = `encoding ${e!.toFixed(2)}, submitting ${s!.toFixed(2)}, waiting ${w!.toFixed(2)}`;
  console.log(`one token at ${first}: ${a!.toFixed(3)} ms (${parts}), ${(1000 / a!).toFixed(0)} tokens/s`);
}

async function profile(executor: WebGpuExecutor, tokens: readonly Token[], title: string): Promise<void> {
  const screen = { vocab: executor.vocab, keep: 1, margin: 0, rows: [] };
  await executor.profile(tokens, screen);
  const kernels = await executor.profile(tokens, screen);
  console.log(
    `${title}: ${(kernels.reduce((sum, { microseconds }) => sum + microseconds, 0) / 1000).toFixed(3)} ms of launches`,
  );
  for (const { shader, launches, microseconds } of kernels) {
    console.log(
      `    ${shader.padEnd(26)} ${String(launches).padStart(4)} × ${(microseconds / launches).toFixed(2)} µs`,
    );
  }
}

/** What `bitnet bench` measures, through the whole engine. */
async function standard(artifact: string, newTokens: number) {
  const start = performance.now();
  await using model = await openArtifact(artifact);
  const openMs = performance.now() - start;
  console.log(`opened, with the self-test, in ${(openMs / 1000).toFixed(1)} s on ${model.device}`);
  const { rows, machine } = await model.benchmark({ promptTokens: PROMPTS, newTokens, contexts: CONTEXTS });
  for (const { kind, tokens, context, tokensPerSecond, share } of rows) {
    const speed = `${tokensPerSecond.median.toFixed(0)} tokens/s, ${(100 * share.median).toFixed(0)}% of the machine`;
    console.log(`${kind} of ${tokens} after ${context}: ${speed}`);
  }
  console.log('machine', JSON.stringify(machine));
  const { device, version } = { device: model.device, version: COMPILER_VERSION };
  return {
    device,
    version,
    date: new Date().toISOString().slice(0, 10),
    openMs,
    rows,
    machine,
    memory: model.memory(),
  };
}

export async function times(asked: Asked): Promise<void> {
  const { json } = asked;
  const { artifact } = await model(asked);
  const report = await standard(artifact, asked.tokens);
  if (json !== undefined) await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
  const executor = await executorOf(artifact);
  const fits = (position: number) => position + 64 <= executor.context;
  for (const at of [16, 128, 512, 1500].filter(fits)) await decode(executor, at, 24);
  if (executor.device.gpu.features.has('timestamp-query')) {
    await profile(executor, [token(128, 0)], 'one token at 128');
    if (fits(1500)) await profile(executor, [token(1500, 0)], 'one token at 1500');
    await profile(
      executor,
      Array.from({ length: 4 }, (_, i) => token(100 + i, i === 3 ? 0 : -1)),
      '4 tokens',
    );
    await profile(
      executor,
      Array.from({ length: 512 }, (_, i) => token(i, i === 511 ? 0 : -1)),
      '512 tokens',
    );
  }
  for (const count of [4, 64, 512]) {
    const tokens = Array.from({ length: count }, (_, i) => token(i, i === count - 1 ? 0 : -1));
    const took: number[] = [];
    for (let i = 0; i < 4; i++) {
      const start = performance.now();
      await executor.step(tokens);
      took.push(performance.now() - start);
    }
    console.log(
      `${count} tokens: ${median(took).toFixed(2)} ms, ${((1000 * count) / median(took)).toFixed(0)} tokens/s`,
    );
  }
  executor.device.gpu.destroy();
}

/** Other ways to do the same. */
const VARIANTS: Readonly<Record<string, (program: WebGpuProgram) => WebGpuProgram>> = {
  'as it is': (program) => program,
  'norms and quantisation in launches of their own': (program) => ({
    ...program,
    programs: program.programs.slice(1),
  }),
  'without subgroups': (program) => ({
    ...program,
    shaders: Object.fromEntries(
      Object.entries(program.shaders).map(([name, { flags, variants, bindings }]) => [
        name,
        { bindings, flags: flags.filter((flag) => flag !== 'subgroups'), variants },
      ]),
    ),
  }),
};

export async function variants(asked: Asked): Promise<void> {
  const { artifact, path } = await model(asked);
  const plan = planForGpu(await importModel(path));
  const filled = [128, 512, 1024].map((workgroups) => {
    const change = ({ key }: WebGpuProgram): WebGpuProgram => ({ ...renderWebGpu(plan, workgroups), key });
    return [`${workgroups} workgroups fill it`, change] as const;
  });
  for (const [title, change] of [...Object.entries(VARIANTS), ...filled]) {
    const executor = await executorOf(artifact, change);
    console.log(title);
    await decode(executor, 128, 48);
    const screen = { vocab: executor.vocab, keep: 1, margin: 0, rows: [] };
    if (executor.device.gpu.features.has('timestamp-query')) {
      await executor.profile([token(128, 0)], screen);
      const kernels = await executor.profile([token(128, 0)], screen);
      console.log(
        kernels
          .map(({ shader, launches, microseconds }) => `${shader} ${(microseconds / launches).toFixed(1)}`)
          .join(', '),
      );
    }
    executor.device.gpu.destroy();
  }
}
