import { BitnetError } from '../../errors.ts';
import type { GpuCompiler } from './gpu-compiler.ts';
import { findNvcc } from './nvcc.ts';
import { findNvrtc } from './nvrtc.ts';

/**
 * Finds nvcc, or NVRTC where there is none. NVCC names the one to use, NVRTC the library where no nvcc is to be used.
 * Throws a BitnetError that says what to install where there is neither.
 */
export async function findGpuCompiler(): Promise<GpuCompiler> {
  const { NVCC, NVRTC } = process.env;
  const onlyNvrtc = NVRTC && !NVCC;
  const found = (onlyNvrtc ? undefined : await findNvcc()) ?? (NVCC ? undefined : await findNvrtc());
  if (found) return found;
  const named = NVCC ? ` (NVCC is ${NVCC})` : onlyNvrtc ? ` (NVRTC is ${NVRTC})` : '';
  throw new BitnetError(`no compiler for NVIDIA GPUs was found${named}: neither nvcc nor NVRTC`, {
    hint:
      "of NVIDIA's packages, install cuda-nvcc-13-0 and cuda-cudart-dev-13-0 (nvcc), or cuda-nvrtc-13-0 alone (NVRTC; also " +
      'pip install nvidia-cuda-nvrtc, and set NVRTC to its libnvrtc.so.13); or set NVCC to an nvcc of release 12.4 or later',
  });
}
