import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder } from './compiler/build/cache-folder.ts';
import { cmakeBuild } from './compiler/build/cmake.ts';
import { sha256 } from './compiler/build/fingerprint.ts';
import { type Compiler, findCompiler } from './compiler/build/toolchain.ts';
import { type LowerOptions, type Progress, parseTargets, type Target } from './compiler/index.ts';
import { BitnetError } from './errors.ts';
import { artifactOf } from './index.ts';
import { packageRoot } from './package-root.ts';
import { type LogitsResult, readArtifact } from './runtime/src/index.ts';

const run = promisify(execFile);

export interface EmulateOptions extends LowerOptions {
  /** The target to emulate, as `arm-neon`. */
  readonly target: string;
  /** How keys and values are cached. Default `f16`. */
  readonly kv?: 'f16' | 'f32';
  /** Threads that compute. Default 1. */
  readonly threads?: number;
  /** Folder for the artifact of a model file. Default: `generated` under the current folder. */
  readonly out?: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

/** See `emulateLogits` of the front door. */
export async function emulateLogits(
  path: string,
  tokens: readonly number[],
  { target: id, kv = 'f16', threads = 1, ...options }: EmulateOptions,
): Promise<LogitsResult> {
  const { onProgress, signal } = options;
  const [target] = parseTargets(id);
  if (!target.cross) throw new BitnetError(`there is no emulator for target ${target.id}`);
  const artifact = await artifactOf(path, { ...options, target: target.id });
  const { folder, manifest } = await readArtifact(artifact);
  const entry = manifest.targets[target.id];
  if (!entry) {
    throw new BitnetError(`the artifact ${folder} has no program for ${target.id}`, {
      hint: `compile the model again with --target ${target.id}`,
    });
  }
  const { vocab } = manifest.model;
  const runner = await findRunner(target, onProgress, signal);
  onProgress?.({ stage: 'build', message: `running ${target.id} under ${target.cross.emulator[0]}` });
  const scratch = await mkdtemp(join(tmpdir(), 'bitnet-emulate-'));
  try {
    const file = join(scratch, 'logits.f32');
    const model = [join(folder, entry.library), join(folder, manifest.weights[entry.layout].file)];
    const flags = ['--tokens', tokens.join(','), '--kv', kv, '--threads', String(threads), '--out', file];
    await emulate(target, [runner, 'logits', ...model, ...flags], signal);
    const bytes = await readFile(file);
    const data = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    return { data, rows: tokens.length, vocab };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function emulate(target: Target, args: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  const { emulator, install } = target.cross!;
  const [command, ...before] = emulator;
  try {
    await run(command, [...before, ...args], { signal });
  } catch (cause) {
    signal?.throwIfAborted();
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new BitnetError(`${command} was not found`, { hint: install, cause });
    }
    const said = (cause as { stderr?: string }).stderr?.trim();
    throw new BitnetError(`target ${target.id} under ${command}: ${said || (cause as Error).message}`, { cause });
  }
}

/** The engine as a program of its own for a target, from the user's cache, or built into it. */
export async function findRunner(
  target: Target,
  onProgress?: EmulateOptions['onProgress'],
  signal?: AbortSignal,
): Promise<string> {
  const compiler = await findCompiler(target);
  const folder = cacheFolder('runners', await runnerKey(target, compiler));
  const runner = join(folder, 'runner');
  const present = await access(runner).then(
    () => true,
    () => false,
  );
  if (present) return runner;
  onProgress?.({ stage: 'build', message: `building the engine for ${target.arch} with ${compiler.command}` });
  const build = `${folder}.${process.pid}`;
  try {
    await cmakeBuild({
      source: join(packageRoot(), 'runtime', 'native'),
      build,
      target,
      compiler,
      goal: 'runner',
      signal,
    });
    await mkdir(folder, { recursive: true });
    await rename(join(build, 'runner'), runner);
  } finally {
    await rm(build, { recursive: true, force: true });
  }
  return runner;
}

/** Identifies a runner by everything that goes into it. */
async function runnerKey(target: Target, compiler: Compiler): Promise<string> {
  const native = join(packageRoot(), 'runtime', 'native');
  const filesOf = async (folder: string) => (await readdir(folder)).sort().map((file) => join(folder, file));
  const headers = ['abi.h', 'cuda.h'].map((file) => join(packageRoot(), 'artifact', file));
  const files = [
    join(native, 'CMakeLists.txt'),
    join(native, 'runner.cpp'),
    ...(await filesOf(join(native, 'engine'))),
    ...(await filesOf(join(native, 'cuda'))),
    ...headers,
  ];
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return sha256(target.arch, compiler.version, ...texts);
}
