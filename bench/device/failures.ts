// What target cuda does where something goes wrong, or where nvcc is missing.
import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { buildArtifact } from '../../compiler/build/artifact.ts';
import { findGpuCompiler } from '../../compiler/build/find-gpu-compiler.ts';
import { gpuProgram, parseArchitectures } from '../../compiler/build/gpu-program.ts';
import { findNvrtc } from '../../compiler/build/nvrtc.ts';
import { compile, importModel } from '../../compiler/index.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { selectGpuKernels } from '../../compiler/passes/select-gpu-kernels.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { BitnetError, defaultModel, type Model, openArtifact } from '../../index.ts';

/** Whether something went as it should, and in what words. */
export interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
}

const PROMPT = [3, 4, 5, 6];

const tell = async (model: Model, prompt: readonly number[] = PROMPT): Promise<string> =>
  (await model.generate(prompt, { temperature: 0, maxTokens: 40, ignoreEos: true }).result).tokens.join(',');

async function wordsOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'it went well';
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return `${error.message} / ${error.hint}`;
  }
}

/** The default model with a kernel that writes where there is no memory, once it is given token 7. */
async function faulty(out: string): Promise<string> {
  const ir = await importModel(defaultModel());
  const plan = planForGpu(ir);
  const choices = selectGpuKernels(plan);
  const start = '{ embed<embedding>(args); }';
  const fault = '{ if (args.tokens[0].id == 7) *reinterpret_cast<volatile int *>(16) = 1; embed<embedding>(args); }';
  const sources = renderCuda(plan).map(({ file, text }) => ({ file, text: text.replace(start, fault) }));
  if (!sources.some(({ text }) => text.includes(fault))) throw new Error(`no kernel is ${start}`);
  const compiler = await findGpuCompiler();
  const program = gpuProgram(choices, sources, compiler, await parseArchitectures(undefined, compiler));
  return (await buildArtifact(ir, plan, [program], { out: join(out, 'faulty') })).artifact;
}

/** A kernel's fault ends all models of the process, with its reason, and none can be opened after it. */
async function lost(good: string, out: string): Promise<Finding[]> {
  const bad = await faulty(out);
  const first = await openArtifact(good, { target: 'cuda' });
  const second = await openArtifact(bad, { target: 'cuda' });
  const expected = await tell(first);
  const together = (await Promise.all([tell(first), tell(second)])).every((told) => told === expected);
  const fault = await wordsOf(tell(second, [7]));
  const next = await wordsOf(openArtifact(good, { target: 'cuda' }));
  const shared = await wordsOf(tell(first));
  await Promise.all([first.dispose(), second.dispose()]);
  const later = await wordsOf(openArtifact(good, { target: 'cuda' }));
  const told = (what: string, detail: string): Finding => ({
    what,
    ok: /ILLEGAL_ADDRESS/.test(detail) && /start it anew/.test(detail),
    detail,
  });
  return [
    { what: 'two models at once', ok: together, detail: '' },
    told('a fault ends the model', fault),
    told('no other is opened after it', next),
    told('the one beside it has ended, too', shared),
    told('none is opened when both are gone', later),
  ];
}

/** What NVRTC compiles tells the same story. */
async function withNvrtc(good: string, out: string): Promise<Finding[]> {
  const nvrtc = await findNvrtc();
  if (!nvrtc) return [{ what: 'NVRTC', ok: false, detail: 'there is none: set NVRTC to its library' }];
  const { NVRTC, NVCC } = process.env;
  process.env.NVRTC = nvrtc.command;
  delete process.env.NVCC;
  try {
    const { artifact, manifest } = await compile(defaultModel(), { target: 'cuda', out: join(out, 'nvrtc') });
    await using theirs = await openArtifact(artifact, { target: 'cuda' });
    await using ours = await openArtifact(good, { target: 'cuda' });
    const ok = (await tell(theirs)) === (await tell(ours));
    return [{ what: 'NVRTC tells the same story', ok, detail: manifest.targets.cuda!.compiler }];
  } finally {
    process.env.NVRTC = NVRTC;
    if (NVRTC === undefined) delete process.env.NVRTC;
    if (NVCC !== undefined) process.env.NVCC = NVCC;
  }
}

const print = (findings: readonly Finding[]): void => {
  for (const { what, ok, detail } of findings) console.log(`${ok ? 'ok ' : 'BAD'} ${what}: ${detail}`);
};

/**
 * Writes to `file` what it finds, bit by bit. `good` is the default model's artifact for target cuda. Afterwards no GPU works
 * in this process any more.
 */
export async function failures(good: string, out: string, file: string): Promise<void> {
  // A folder of its own: what is done to it should reach nobody else.
  const copy = join(out, 'good');
  await cp(good, copy, { recursive: true });
  const absent = async (): Promise<Finding[]> => {
    const detail = await wordsOf(openArtifact(copy, { target: 'cuda', device: 63 }));
    return [{ what: 'a GPU that is not there', ok: /no GPU 63/.test(detail), detail }];
  };
  const findings: Finding[] = [];
  for (const work of [absent, withNvrtc, lost]) {
    const found = await work(copy, out).catch((error): Finding[] => [
      { what: work.name, ok: false, detail: String(error) },
    ]);
    print(found);
    findings.push(...found);
    await writeFile(file, JSON.stringify(findings));
  }
}

/** Opens a large model until there is no room left for it. */
export async function fill(artifact: string): Promise<Finding[]> {
  const open: Model[] = [];
  const options = { target: 'cuda', sequences: 64, kv: 'f32' } as const;
  let words = '';
  try {
    while (open.length < 64) open.push(await openArtifact(artifact, options));
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    words = `${error.message} / ${error.hint}`;
  }
  const told = await Promise.all(open.map((model) => tell(model)));
  const same = told.every((one) => one === told[0]);
  await Promise.all(open.map((model) => model.dispose()));
  await (await openArtifact(artifact, options)).dispose();
  const findings = [
    { what: `${open.length} models fill the GPU, and tell the same`, ok: open.length > 0 && same, detail: '' },
    { what: 'one more does not fit', ok: /does not fit/.test(words), detail: words },
  ];
  print(findings);
  return findings;
}
