import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findGpuCompiler } from '../compiler/build/find-gpu-compiler.ts';
import { findCompiler } from '../compiler/build/toolchain.ts';
import { BitnetError } from '../errors.ts';
import type { Target } from '../targets/index.ts';

const run = promisify(execFile);

/** First line of a command's `--version`, or undefined where there is no such command. */
export async function versionOf(command: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(command, ['--version']);
    return stdout.split('\n', 1)[0];
  } catch {
    return undefined;
  }
}

/** Whether a target can be built here: by which compiler, or what is missing and what installs it. */
export async function buildability(target: Target): Promise<Buildability> {
  return asBuildability(() => findCompiler(target));
}

/** The same of the target for GPUs. */
export const buildabilityOnGpu = (): Promise<Buildability> => asBuildability(findGpuCompiler);

export type Buildability =
  | { readonly by: string; readonly missing?: undefined }
  | { readonly missing: string; readonly by?: undefined };

async function asBuildability(find: () => Promise<{ readonly command: string }>): Promise<Buildability> {
  try {
    return { by: (await find()).command };
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    return { missing: error.hint ?? error.message };
  }
}
