import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GpuTarget } from '../../targets/index.ts';
import type { Choice } from '../passes/select-kernels.ts';
import type { Source } from '../render/index.ts';
import { COMPILER_VERSION } from '../version.ts';
import type { Program } from './artifact.ts';
import { sha256 } from './fingerprint.ts';
import { writeSources } from './sources.ts';

/**
 * The program of a model for a target whose driver compiles kernels when the model is opened: one file with all that it needs,
 * made of `contents` and a key of its own, and beside it the kernels to be read.
 */
export function driverProgram(
  target: GpuTarget,
  choices: readonly Choice[],
  contents: object,
  sources: readonly Source[],
): Program {
  const key = sha256(JSON.stringify(contents));
  const write = async (folder: string) => {
    await writeFile(join(folder, 'model.json'), JSON.stringify({ ...contents, key }));
    await writeSources(folder, sources);
  };
  return {
    target,
    choices,
    compiler: { command: 'its templates', version: `bitnet-toolchain ${COMPILER_VERSION}` },
    key,
    library: 'model.json',
    write,
  };
}
