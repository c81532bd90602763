import type { Command } from 'commander';
import { probeMachine } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import { findWebGpu, type Gpu, listGpus } from '../../index.ts';
import { canRun, cuda, nativeTarget, targets, webgl, webgpu } from '../../targets/index.ts';
import { bytes, table } from '../format.ts';
import { type Io, write, writeJson } from '../io.ts';
import { buildability, buildabilityOnGpu } from '../toolchains.ts';

const EXAMPLES = `
Examples:
  bitnet targets
  bitnet targets --json`;

export function targetsCommand(program: Command, io: Io): void {
  program
    .command('targets')
    .description('list the machines that programs can be compiled for')
    .option('--json', 'print the list as JSON')
    .addHelpText('after', EXAMPLES)
    .action(async ({ json }: { readonly json?: boolean }) => {
      const listed = await listTargets();
      await (json ? writeJson(io, listed) : write(io, print(listed)));
    });
}

/** Every target, with what this machine can do for it. */
export async function listTargets() {
  const machine = probeMachine();
  const native = nativeTarget(machine);
  const cpu = targets.map(async (target) => {
    const { id, title, arch, features, rank } = target;
    const { by: compiler = null, missing = null } = await buildability(target);
    const runs = canRun(target, machine);
    return { id, title, arch, features, rank, runs, native: target === native, compiler, missing };
  });
  return Promise.all([...cpu, gpu(), webGpu(), webGl()]);
}

/** The target for GPUs: which there are, or why none can be used, the driver says. */
async function gpu() {
  const { id, title, arch, features, rank } = cuda;
  const { by: compiler = null, missing = null } = await buildabilityOnGpu();
  const { gpus, obstacle } = findGpus();
  const runs = gpus.length > 0;
  return { id, title, arch, features, rank, runs, native: false, compiler, missing, gpus, obstacle };
}

/** The target for what WebGPU reaches: the GPU that it would run on, or why there is none. It needs no compiler. */
async function webGpu() {
  const { id, title, arch, features, rank } = webgpu;
  const { adapter, obstacle } = await findAdapter();
  const common = { id, title, arch, features, rank, native: false, compiler: 'its templates', missing: null };
  return { ...common, runs: adapter !== null, adapter, obstacle };
}

/** The target for browsers that have nothing better. It needs no compiler. */
function webGl() {
  const { id, title, arch, features, rank } = webgl;
  return { id, title, arch, features, rank, runs: false, native: false, compiler: 'its templates', missing: null };
}

async function findAdapter(): Promise<{ adapter: string | null; obstacle: string | null }> {
  try {
    return { adapter: await findWebGpu(), obstacle: null };
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return { adapter: null, obstacle: error.hint ? `${error.message}: ${error.hint}` : error.message };
  }
}

function findGpus(): { gpus: readonly Gpu[]; obstacle: string | null } {
  try {
    return { gpus: listGpus(), obstacle: null };
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return { gpus: [], obstacle: error.message };
  }
}

function print(listed: Awaited<ReturnType<typeof listTargets>>): string {
  const rows = listed.map(({ id, title, arch, features, runs, native, compiler, missing }) => [
    native ? `${id} *` : id,
    arch,
    runs ? 'yes' : 'no',
    compiler === null ? `no: ${missing}` : compiler,
    features.join(' '),
    title,
  ]);
  const heading = ['target', 'arch', 'runs here', 'built here by', 'features', 'for'];
  return `${table(heading, rows)}\n* what native stands for on this machine\n${listed.flatMap(gpuLines).join('')}`;
}

/** The GPUs of this machine, as `--device` counts them, or why none can be used. */
function gpuLines(target: Awaited<ReturnType<typeof listTargets>>[number]): string[] {
  if ('adapter' in target) return [`${webgpu.id}: ${target.adapter ?? target.obstacle}\n`];
  if (!('gpus' in target)) return [];
  if (target.obstacle !== null) return [`${target.obstacle}\n`];
  const lines = target.gpus.map(
    ({ name, capability, memory }, device) => `--device ${device}: ${name}, sm_${capability}, ${bytes(memory)}\n`,
  );
  return lines.length > 1 ? [...lines, 'GPUs of one kind may share a model: --devices 0,1\n'] : lines;
}
