import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { webgpu } from '../../targets/index.ts';
import type { Plan } from '../ir/plan.ts';
import { selectWebGpuKernels } from '../passes/select-webgpu-kernels.ts';
import { renderWebGpu, shaderSources } from '../render/wgsl/index.ts';
import { COMPILER_VERSION } from '../version.ts';
import type { Program } from './artifact.ts';
import { sha256 } from './fingerprint.ts';

/**
 * The program of a model for WebGPU: one file that lists shaders and launches, and beside it the shaders to be read. A GPU's
 * driver compiles them when the model is opened.
 */
export function webGpuProgram(plan: Plan): Program {
  const unkeyed = renderWebGpu(plan);
  const key = sha256(JSON.stringify(unkeyed));
  const write = async (folder: string) => {
    await writeFile(join(folder, 'model.json'), JSON.stringify({ ...unkeyed, key }));
    await mkdir(join(folder, 'shaders'), { recursive: true });
    for (const { file, text } of shaderSources(unkeyed)) await writeFile(join(folder, file), text);
  };
  return {
    target: webgpu,
    choices: selectWebGpuKernels(plan),
    compiler: { command: 'its templates', version: `bitnet-toolchain ${COMPILER_VERSION}` },
    key,
    library: 'model.json',
    write,
  };
}
