// Everything about target cuda on one machine with a GPU: builds, checks against the reference, watches with the sanitizer,
// times, and keeps it all.
//   node --import tsx bench/device/main.ts [--shape 2b4t] [--heads f16,q6_k] [--out FILE] [--prompts 512,2048]
//                                          [--only checks,draws,failures,sanitizer,times,tuning] [--sequences 1,8,64]
//                                          [--contexts 0,128,2048] [--models default,flash-q6_k] [--minutes 4]
//                                          [--team agreement,2b4t,huge]
// On a bare machine: npm run bench:device makes a folder that has all it needs but nvcc; run its run.sh there.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { compile } from '../../compiler/index.ts';
import { listGpus } from '../../index.ts';
import { packageRoot } from '../../package-root.ts';
import { type Check, check, printCheck } from './checks.ts';
import { draws } from './draws.ts';
import { exercise } from './exercise.ts';
import { failures } from './failures.ts';
import { type CheckedModel, checkedModels, type HeadEncoding } from './models.ts';
import { sanitize } from './sanitize.ts';
import { team } from './team.ts';
import { times } from './times.ts';
import { tuning } from './tuning.ts';

const { values } = parseArgs({
  options: {
    shape: { type: 'string', default: '2b4t' },
    heads: { type: 'string', default: 'q6_k' },
    out: { type: 'string' },
    only: { type: 'string', default: 'checks,draws,failures,sanitizer,times,tuning' },
    minutes: { type: 'string', default: '4' },
    // Of models.ts, those to check: all, if none are named.
    models: { type: 'string' },
    prompts: { type: 'string', default: '512,2048' },
    sequences: { type: 'string', default: '1,8,64' },
    contexts: { type: 'string', default: '0,128,2048' },
    'new-tokens': { type: 'string', default: '128' },
    repetitions: { type: 'string', default: '6' },
    // Instead of all that, two GPUs beside one: agreement, 2b4t, huge.
    team: { type: 'string' },
    // An artifact: what sanitize.ts has this run.
    exercise: { type: 'string' },
    // An artifact: what failuresApart has this make fail, and write to --out.
    failing: { type: 'string' },
  },
});

const counts = (text: string) => text.split(',').map(Number);

/** `failures` in a process of its own: no GPU works in it any more when it is done. */
async function failuresApart(artifact: string, scratch: string): Promise<unknown> {
  const out = join(scratch, 'failures.json');
  const node = [...process.execArgv, process.argv[1]!, '--failing', artifact, '--out', out];
  spawnSync(process.execPath, node, { stdio: 'inherit' });
  return JSON.parse(await readFile(out, 'utf8'));
}

async function run(scratch: string): Promise<void> {
  const parts = values.only.split(',');
  const query = ['--query-gpu=name,driver_version', '--format=csv,noheader'];
  const driver = execFileSync('nvidia-smi', query, { encoding: 'utf8' }).trim().split('\n')[0]!.split(', ')[1];
  const gpus = listGpus();
  const file =
    values.out ??
    join(packageRoot(), 'bench', 'results', `cuda-${gpus[0]!.name.toLowerCase().replace(/[^a-z0-9]+/g, '-')}.json`);
  await mkdir(dirname(file), { recursive: true });
  const report: Record<string, unknown> = {
    device: gpus[0]!.name,
    gpus,
    driver,
    date: new Date().toISOString().slice(0, 10),
    shape: values.shape,
  };
  // Written part by part: what is cut short leaves what was found.
  const keep = async (part: string, found: unknown) => {
    report[part] = found;
    await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
  };
  if (values.team !== undefined) return await team(scratch, values.team.split(','), keep);
  const out = join(scratch, 'generated');
  const models = await checkedModels(scratch, values.models?.split(','));
  const compiled = async ({ name, path }: CheckedModel) =>
    [name, (await compile(path, { target: 'cuda', out })).artifact] as const;
  const artifacts = new Map(await Promise.all(models.map(compiled)));
  const timed = {
    shape: values.shape,
    heads: values.heads.split(',') as HeadEncoding[],
    promptTokens: counts(values.prompts),
    sequences: counts(values.sequences),
    contexts: counts(values.contexts),
    newTokens: Number(values['new-tokens']),
    repetitions: Number(values.repetitions),
  };
  const work: Readonly<Record<string, () => Promise<unknown>>> = {
    times: () => times(scratch, timed),
    checks: async () => {
      const done: Check[] = [];
      for (const model of models) {
        done.push(await check(model, out));
        printCheck(done.at(-1)!);
        await keep('checks', done);
      }
      return done;
    },
    draws: () => draws(artifacts, scratch),
    failures: () => failuresApart(artifacts.get('default')!, scratch),
    sanitizer: () => sanitize(artifacts),
    tuning: () => tuning(scratch, { ...timed, minutes: Number(values.minutes) }),
  };
  for (const [part, does] of Object.entries(work)) {
    if (!parts.includes(part)) continue;
    const start = performance.now();
    try {
      await keep(part, await does());
    } catch (error) {
      // The parts after it tell something all the same.
      console.error(`BAD ${part}:`, error);
      await keep(`${part} ended`, String(error));
      process.exitCode = 1;
    }
    console.log(`${part} took ${Math.round((performance.now() - start) / 1000)} s`);
  }
  console.log(file);
}

if (values.exercise !== undefined) await exercise(values.exercise);
else {
  const scratch = await mkdtemp(join(tmpdir(), 'bitnet-device-'));
  try {
    if (values.failing !== undefined) await failures(values.failing, scratch, values.out!);
    else await run(scratch);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}
