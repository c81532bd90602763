import { randomUUID } from 'node:crypto';
import { cp, mkdir, rename, rm } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { WASM } from '../../artifact/machine.ts';
import type { Target } from '../../targets/target.ts';
import type { Choice } from '../passes/select-kernels.ts';
import { renderBuildScript, type Source, unitsOf } from '../render/index.ts';
import type { Program } from './artifact.ts';
import { cacheFolder } from './cache-folder.ts';
import { buildLibrary } from './cmake.ts';
import { sha256 } from './fingerprint.ts';
import { withLock } from './lock.ts';
import { writeSources } from './sources.ts';
import type { Compiler } from './toolchain.ts';
import { buildModule } from './wasm.ts';

/** File name of the library in a target's folder. */
export const libraryFile = ({ arch }: Target): string => (arch === WASM ? 'model.wasm' : 'model.so');

/** Identifies a library by everything that goes into it. */
export function libraryKey(sources: readonly Source[], target: Target, compiler: Compiler): string {
  const build = renderBuildScript(sources, target, '');
  return sha256(compiler.version, ...[...sources, build].flatMap(({ file, text }) => [file, text]));
}

/** The program of a model for a CPU target. */
export function cpuProgram(
  target: Target,
  choices: readonly Choice[],
  sources: readonly Source[],
  compiler: Compiler,
): Program {
  const write = async (folder: string, signal?: AbortSignal) => {
    await writeLibrary(folder, sources, target, compiler, signal);
  };
  return { target, choices, compiler, key: libraryKey(sources, target, compiler), library: libraryFile(target), write };
}

/**
 * Puts the program of one target into `folder`: its sources, build script and library. A library built before from the
 * same sources, flags and compiler is taken from the user's cache, whatever model it was built for. Returns its key.
 */
export async function writeLibrary(
  folder: string,
  sources: readonly Source[],
  target: Target,
  compiler: Compiler,
  signal?: AbortSignal,
): Promise<string> {
  const key = libraryKey(sources, target, compiler);
  await writeSources(folder, [...sources, renderBuildScript(sources, target, key)]);
  const build = async () => {
    if (target.arch === WASM) await buildModule(folder, unitsOf(sources), target, key, compiler, signal);
    else await buildLibrary(folder, target, compiler, signal);
    await rm(join(folder, 'build'), { recursive: true });
  };
  const library = join(folder, libraryFile(target));
  await withCachedLibrary(library, `${key}${extname(library)}`, build, signal);
  return key;
}

/** Puts a library in its place: from the user's cache, or by building it, which puts it into the cache. */
export async function withCachedLibrary(
  library: string,
  name: string,
  build: () => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  await mkdir(cacheFolder('libraries'), { recursive: true });
  const cached = cacheFolder('libraries', name);
  if (await copied(cached, library)) return;
  // Whoever needs it at the same time waits, and finds it.
  const fill = async () => {
    if (await copied(cached, library)) return;
    await build();
    const temporary = `${cached}.${randomUUID()}`;
    await cp(library, temporary);
    await rename(temporary, cached);
  };
  await withLock(`${cached}.lock`, fill, { signal });
}

/** Copies a file, if it is there. */
async function copied(from: string, to: string): Promise<boolean> {
  try {
    await cp(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
