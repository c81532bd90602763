import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Target } from '../../targets/target.ts';
import { runTool } from './tool.ts';
import type { Compiler } from './toolchain.ts';

function cmake(args: readonly string[], compiler: Compiler, signal: AbortSignal | undefined): Promise<void> {
  // The caller's own flags would change a program without changing its key.
  const env = { ...process.env, CXX: compiler.command, CXXFLAGS: '', LDFLAGS: '' };
  return runTool('cmake', args, { name: `cmake ${args[0]}`, install: 'apt-get install cmake', env, signal });
}

/** One build with CMake. */
export interface CmakeBuild {
  /** Folder of CMakeLists.txt. */
  readonly source: string;
  /** Folder to build in. */
  readonly build: string;
  readonly target: Target;
  readonly compiler: Compiler;
  /** What to build of it. Default: everything. */
  readonly goal?: string;
  /** Variables to set. */
  readonly define?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Configures and builds a CMake project for a target. Throws a BitnetError with the compiler's errors. */
export async function cmakeBuild({ source, build, target, compiler, goal, define, signal }: CmakeBuild): Promise<void> {
  const variables = {
    CMAKE_BUILD_TYPE: 'Release',
    ...(compiler.cross ? { CMAKE_SYSTEM_NAME: 'Linux', CMAKE_SYSTEM_PROCESSOR: target.arch } : {}),
    ...define,
  };
  const defines = Object.entries(variables).map(([name, value]) => `-D${name}=${value}`);
  await cmake(['-S', source, '-B', build, ...defines], compiler, signal);
  const goals = goal === undefined ? [] : ['--target', goal];
  await cmake(['--build', build, ...goals, '--parallel', String(availableParallelism())], compiler, signal);
}

/** Builds the program in `folder` into `folder/model.so`, by way of `folder/build`. */
export async function buildLibrary(
  folder: string,
  target: Target,
  compiler: Compiler,
  signal?: AbortSignal,
): Promise<void> {
  const define = { CMAKE_LIBRARY_OUTPUT_DIRECTORY: folder };
  await cmakeBuild({ source: folder, build: join(folder, 'build'), target, compiler, define, signal });
}
