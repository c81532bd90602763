import { execFile, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BitnetError } from '../../errors.ts';
import { cuda } from '../../targets/index.ts';
import type { Choice } from '../passes/select-kernels.ts';
import type { Source } from '../render/index.ts';
import type { Program } from './artifact.ts';
import { sha256 } from './fingerprint.ts';
import { withCachedLibrary } from './library.ts';

const run = promisify(execFile);

/** File name of a compiled program for GPUs. */
const FATBIN = 'model.fatbin';

/** NVIDIA's compiler. */
export interface Nvcc {
  readonly command: string;
  /** Its release, for the manifest and the cache's key. */
  readonly version: string;
}

/** Where nvcc may be: the user's choice alone, or the usual places. */
function candidates(): string[] {
  const { NVCC, CUDA_HOME, CUDA_PATH } = process.env;
  if (NVCC) return [NVCC];
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((home) => home !== undefined);
  return ['nvcc', ...homes.map((home) => join(home, 'bin', 'nvcc'))];
}

/** Finds nvcc; NVCC names the one to use. Throws a BitnetError that says what to install where there is none. */
export async function findNvcc(): Promise<Nvcc> {
  for (const command of candidates()) {
    const found = await run(command, ['--version']).catch(() => undefined);
    const release = found && /release ([\d.]+), (V[\d.]+)/.exec(found.stdout);
    if (release) return { command, version: `nvcc ${release[1]} ${release[2]}` };
  }
  throw new BitnetError(`no CUDA compiler was found (tried ${candidates().join(', ')})`, {
    hint: 'install the CUDA toolkit, 12.4 or later (https://developer.nvidia.com/cuda-downloads), or set NVCC to its nvcc',
  });
}

/**
 * The architectures to build for: those asked for, with commas; else those of this machine's GPUs; else all.
 * Throws a BitnetError that lists them where one is not known.
 */
export async function parseArchitectures(text: string | undefined): Promise<string[]> {
  const asked = text === undefined ? await ownArchitectures() : text.split(',').map((one) => one.trim());
  const unknown = asked.find((one) => !cuda.architectures.includes(one));
  if (text !== undefined && unknown !== undefined) {
    throw new BitnetError(`there is no GPU architecture '${unknown}'`, {
      hint: `architectures: ${cuda.architectures.join(', ')}`,
    });
  }
  const known = asked.filter((one) => cuda.architectures.includes(one));
  return known.length > 0 ? [...new Set(known)] : [...cuda.architectures];
}

/** Those of this machine's GPUs, as the driver's own tool says; none where there is no driver. */
async function ownArchitectures(): Promise<string[]> {
  const listed = await run('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader']).catch(() => undefined);
  return (listed?.stdout.trim().split(/\s+/) ?? []).map((capability) => `sm_${capability.replace('.', '')}`);
}

/** What nvcc is told: sm_90 has products of its own, which code for later GPUs does not have. */
function flagsOf(architectures: readonly string[]): string[] {
  const numbers = architectures.map((one) => (one === 'sm_90' ? '90a' : one.slice(3)));
  return [...cuda.flags, ...numbers.map((number) => `-gencode=arch=compute_${number},code=sm_${number}`)];
}

/** The program of a model for NVIDIA GPUs, to be built by nvcc. */
export function gpuProgram(
  choices: readonly Choice[],
  sources: readonly Source[],
  nvcc: Nvcc,
  architectures: readonly string[],
): Program {
  const flags = flagsOf(architectures);
  const key = sha256(nvcc.version, ...flags, ...sources.flatMap(({ file, text }) => [file, text]));
  const write = async (folder: string, signal?: AbortSignal) => {
    for (const { file, text } of sources) await writeFile(join(folder, file), text);
    await withCachedLibrary(join(folder, FATBIN), `${key}.fatbin`, () => {
      const args = ['-fatbin', '--threads', '0', ...flags, `-DBN_MODEL_KEY="${key}"`, '-o', FATBIN, 'model.cu'];
      return build(nvcc, args, folder, signal);
    });
  };
  return { target: { ...cuda, flags }, choices, compiler: nvcc, key, library: FATBIN, write };
}

function build(nvcc: Nvcc, args: readonly string[], folder: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(nvcc.command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], signal });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        log += chunk;
      });
    }
    child.on('error', reject);
    child.on('close', (code, killedBy) => {
      if (code === 0) return resolve();
      if (signal?.aborted) return reject(signal.reason);
      const errors = log.split('\n').filter((line) => /error/i.test(line));
      const shown = (errors.length > 0 ? errors.slice(0, 5) : log.trimEnd().split('\n').slice(-8)).join('\n');
      reject(new BitnetError(`nvcc failed (${killedBy ?? `exit code ${code}`})\n${shown}`));
    });
  });
}
