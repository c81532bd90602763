import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { codeOf, type GpuCompiler } from './gpu-compiler.ts';
import { runTool } from './tool.ts';

const run = promisify(execFile);

const LIBRARY = 'model.fatbin';

/** Where nvcc may be: the user's choice alone, or the usual places. */
function candidates(): string[] {
  const { NVCC, CUDA_HOME, CUDA_PATH } = process.env;
  if (NVCC) return [NVCC];
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((home) => home !== undefined);
  return ['nvcc', ...homes.map((home) => join(home, 'bin', 'nvcc'))];
}

/** NVIDIA's compiler, where it is installed. */
export async function findNvcc(): Promise<GpuCompiler | undefined> {
  for (const command of candidates()) {
    const found = await run(command, ['--version']).catch(() => undefined);
    const release = found && /release ([\d.]+), (V[\d.]+)/.exec(found.stdout);
    if (!release) continue;
    const { stdout } = await run(command, ['--list-gpu-code']);
    return nvcc(command, `nvcc ${release[1]} ${release[2]}`, stdout.trim().split(/\s+/));
  }
  return undefined;
}

const nvcc = (command: string, version: string, architectures: readonly string[]): GpuCompiler => ({
  command,
  version,
  architectures,
  library: LIBRARY,
  build: (folder, { architectures: wanted, flags, signal }) => {
    const codes = wanted.map((one) => `-gencode=arch=${codeOf(one).replace('sm', 'compute')},code=${codeOf(one)}`);
    // constexpr functions are the GPU's, too; and sm_70 being old is nothing that concerns us.
    const own = ['--expt-relaxed-constexpr', '-Wno-deprecated-gpu-targets', '--threads', '0'];
    const args = ['-fatbin', ...own, ...flags, ...codes, '-o', LIBRARY, 'model.cu'];
    return runTool(command, args, { name: 'nvcc', install: 'it was there a moment ago', cwd: folder, signal });
  },
});
