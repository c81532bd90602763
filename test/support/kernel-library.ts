import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { libraryFile, writeLibrary } from '../../compiler/build/library.ts';
import { families } from '../../compiler/kernels/index.ts';
import { formatName, type Tile } from '../../compiler/kernels/name.ts';
import {
  type KernelFamily,
  type KernelShape,
  type KernelSpec,
  UnsupportedSpecError,
} from '../../compiler/kernels/spec.ts';
import { renderKernels } from '../../compiler/render/index.ts';
import type { Target } from '../../targets/index.ts';
import type { Bed } from './beds.ts';

/** The most tokens that a GEMM of such a library takes. */
export const MAX_TOKENS = 128;

/** The spec of a kernel with a certain tile, the family's own where none is given. */
export function specOf(family: KernelFamily, shape: KernelShape, target: Target, tile?: Tile): KernelSpec {
  const used = tile ?? family.defaultTile(shape, target);
  const name = formatName({ family: family.id, ...shape, tile: used, target: target.id });
  return { name, family: family.id, ...shape, tile: used, reason: 'test' };
}

/** Whether a family computes that spec exactly on the target. */
export function isSupported(family: KernelFamily, spec: KernelSpec, target: Target): boolean {
  try {
    family.check(spec, spec.tile, target);
    return true;
  } catch (error) {
    if (error instanceof UnsupportedSpecError) return false;
    throw error;
  }
}

export const familyOf = (spec: KernelSpec): KernelFamily => families.find(({ id }) => id === spec.family)!;

/** Builds one library of those kernels in `folder`; returns its path. An unchanged library comes from the user's cache. */
export async function buildKernels(bed: Bed, specs: readonly KernelSpec[], folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  await writeLibrary(folder, renderKernels(specs, bed.target, MAX_TOKENS), bed.target, bed.compiler);
  return join(folder, libraryFile(bed.target));
}
