import { join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { cuda } from '../../targets/index.ts';
import type { Choice } from '../passes/select-kernels.ts';
import type { Source } from '../render/index.ts';
import type { Program } from './artifact.ts';
import { sha256 } from './fingerprint.ts';
import { codeOf, type GpuCompiler } from './gpu-compiler.ts';
import { withCachedLibrary } from './library.ts';
import { ownGpus } from './own-gpus.ts';
import { writeSources } from './sources.ts';

/**
 * The architectures to build for: those asked for, with commas; else those of this machine's GPUs; else all that the
 * compiler knows. Throws a BitnetError that lists them where one is not known.
 */
export async function parseArchitectures(text: string | undefined, compiler: GpuCompiler): Promise<string[]> {
  const built = cuda.architectures.filter((one) => compiler.architectures.includes(one));
  if (text === undefined) {
    const own = (await ownGpus()).map(({ capability }) => `sm_${capability}`).filter((one) => built.includes(one));
    return own.length > 0 ? [...new Set(own)] : built;
  }
  const asked = text.split(',').map((one) => one.trim());
  for (const one of asked) {
    if (built.includes(one)) continue;
    if (cuda.architectures.includes(one)) {
      throw new BitnetError(`${compiler.version} does not know ${one}, only ${built.join(', ')}`, {
        hint: `install a later release, or leave ${one} out`,
      });
    }
    throw new BitnetError(`there is no GPU architecture '${one}'`, {
      hint: `architectures: ${cuda.architectures.join(', ')}`,
    });
  }
  return [...new Set(asked)];
}

/** What an artifact calls the program for so many GPUs. */
export const gpuTarget = (gpus: number): string => (gpus === 1 ? cuda.id : `${cuda.id}-x${gpus}`);

/** The program of a model for NVIDIA GPUs that share it, to be built for some architectures. */
export function gpuProgram(
  choices: readonly Choice[],
  sources: readonly Source[],
  compiler: GpuCompiler,
  architectures: readonly string[],
  gpus = 1,
): Program {
  const flags = [...cuda.flags, ...architectures.map(codeOf)];
  const key = gpuLibraryKey(sources, compiler, architectures);
  const { library } = compiler;
  const write = (folder: string, signal?: AbortSignal) =>
    writeGpuLibrary(folder, sources, compiler, architectures, signal);
  return { target: { ...cuda, id: gpuTarget(gpus), flags }, choices, compiler, key, library, write, gpus };
}

/** Identifies a program by everything that goes into it. */
export const gpuLibraryKey = (
  sources: readonly Source[],
  compiler: GpuCompiler,
  architectures: readonly string[],
): string => {
  const flags = [...cuda.flags, ...architectures.map(codeOf)];
  return sha256(compiler.version, ...flags, ...sources.flatMap(({ file, text }) => [file, text]));
};

/** Puts sources and what is compiled from them, or was before, into a folder that is there. */
export async function writeGpuLibrary(
  folder: string,
  sources: readonly Source[],
  compiler: GpuCompiler,
  architectures: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const key = gpuLibraryKey(sources, compiler, architectures);
  const { library } = compiler;
  await writeSources(folder, sources);
  const job = { architectures, flags: [...cuda.flags, `-DBN_MODEL_KEY="${key}"`], signal };
  await withCachedLibrary(join(folder, library), `${key}-${library}`, () => compiler.build(folder, job), signal);
}
