import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { webgl } from '../../targets/index.ts';
import type { Plan } from '../ir/plan.ts';
import { selectWebGlKernels } from '../passes/select-webgl-kernels.ts';
import { kernelSources, renderWebGl } from '../render/webgl/index.ts';
import { COMPILER_VERSION } from '../version.ts';
import type { Program } from './artifact.ts';
import { sha256 } from './fingerprint.ts';

/**
 * The program of a model for WebGL: one file that lists steps and kernels, and beside it the kernels to be read. gpu.js makes
 * shaders of them when the model is opened.
 */
export function webGlProgram(plan: Plan): Program {
  const unkeyed = renderWebGl(plan);
  const key = sha256(JSON.stringify(unkeyed));
  const write = async (folder: string) => {
    await writeFile(join(folder, 'model.json'), JSON.stringify({ ...unkeyed, key }));
    for (const { file, text } of kernelSources(unkeyed)) {
      await mkdir(dirname(join(folder, file)), { recursive: true });
      await writeFile(join(folder, file), text);
    }
  };
  return {
    target: webgl,
    choices: selectWebGlKernels(plan),
    compiler: { command: 'its templates', version: `bitnet-toolchain ${COMPILER_VERSION}` },
    key,
    library: 'model.json',
    write,
  };
}
