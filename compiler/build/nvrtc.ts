import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { packageRoot } from '../../package-root.ts';
import { packCubins } from './cubins.ts';
import { codeOf, type GpuCompiler } from './gpu-compiler.ts';
import { runTool } from './tool.ts';

const run = promisify(execFile);

const LIBRARY = 'model.cubins';

/** The program that opens NVRTC and compiles one file with it: runtime/native/nvrtc.cpp. */
const HELPER = join(packageRoot(), 'build', 'addon', 'nvrtc');

const foundSchema = z.strictObject({ index: z.number(), version: z.string(), architectures: z.array(z.number()) });

/** Where NVRTC may be: the user's choice alone, or the system's folders and the toolkit's, the newest first. */
function candidates(): string[] {
  const { NVRTC, CUDA_HOME, CUDA_PATH } = process.env;
  if (NVRTC) return [NVRTC];
  const windows = process.platform === 'win32';
  const names = windows ? ['nvrtc64_130_0.dll', 'nvrtc64_120_0.dll'] : ['libnvrtc.so.13', 'libnvrtc.so.12'];
  const homes = [CUDA_HOME, CUDA_PATH, '/usr/local/cuda'].filter((home) => home !== undefined);
  const folders = homes.map((home) => join(home, windows ? 'bin' : 'lib64'));
  return names.flatMap((name) => [name, ...folders.map((folder) => join(folder, name))]);
}

/** NVIDIA's compiler as a library, where it is installed. */
export async function findNvrtc(): Promise<GpuCompiler | undefined> {
  const libraries = candidates();
  const found = await run(HELPER, ['find', ...libraries]).catch(() => undefined);
  if (!found) return undefined;
  const { index, version, architectures } = foundSchema.parse(JSON.parse(found.stdout));
  const known = architectures.map((number) => `sm_${number}`);
  return nvrtc(libraries[index]!, `NVRTC ${version}`, known);
}

const nvrtc = (command: string, version: string, architectures: readonly string[]): GpuCompiler => ({
  command,
  version,
  architectures,
  library: LIBRARY,
  build: async (folder, { architectures: wanted, flags, signal }) => {
    const compileOne = async (one: string) => {
      const file = `${one}.cubin`;
      // What is marked for no side is the GPU's: there is no other side here.
      const own = ['-I.', '-default-device', `-arch=${codeOf(one)}`];
      const args = ['compile', command, 'model.cu', file, ...own, ...flags];
      await runTool(HELPER, args, { name: version, install: 'npm run install', cwd: folder, signal });
      const bytes = await readFile(join(folder, file));
      await rm(join(folder, file));
      return { capability: Number(one.slice(3)), bytes };
    };
    await writeFile(join(folder, LIBRARY), packCubins(await Promise.all(wanted.map(compileOne))));
  },
});
