import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeLibrary } from '../../compiler/build/library.ts';
import { families } from '../../compiler/kernels/index.ts';
import { formatName, type Tile } from '../../compiler/kernels/name.ts';
import {
  type KernelFamily,
  type KernelShape,
  type KernelSpec,
  UnsupportedSpecError,
} from '../../compiler/kernels/spec.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { render } from '../../compiler/render/environment.ts';
import { renderSources, type Source } from '../../compiler/render/index.ts';
import { groupBytesOf, kernelsView, kernelView } from '../../compiler/render/views.ts';
import type { Target } from '../../targets/index.ts';
import type { Bed } from './beds.ts';
import { sketch } from './model-ir.ts';

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

/** A model that has kernels and probes, and can do nothing else. */
function tableSource(specs: readonly KernelSpec[], target: Target): string {
  const rows = specs.map((spec) => {
    const family = familyOf(spec);
    const tokens = family.takes === 'one' ? 1 : MAX_TOKENS;
    const sizes = [spec.m, spec.k, tokens, family.scratchBytes(spec, spec.tile), groupBytesOf(spec)];
    return `    {"${spec.name}", ${sizes.join(', ')}, ${spec.name}},`;
  });
  return `#include "kernels.h"

namespace {

const bn_kernel kKernels[] = {
${rows.join('\n')}
};

const bn_model_info kInfo = {
    BN_ABI_VERSION, BN_MODEL_KEY, "${target.id}", 1, 1, 1, ${MAX_TOKENS}, ${specs.length}, kKernels,
    nullptr, nullptr, nullptr, nullptr, bn_probe_read, bn_probe_dot,
};

} // namespace

const bn_model_info *bn_model(void) { return &kInfo; }
`;
}

function kernelSources(specs: readonly KernelSpec[], target: Target): Source[] {
  // The headers and the probes are those of any program.
  const plan = planModel(sketch());
  const program = renderSources(plan, target, selectKernels(plan, target));
  const shared = program.filter(({ file }) => file === 'probe.cpp' || (file.endsWith('.h') && file !== 'kernels.h'));
  const choices = specs.map((spec) => ({ use: spec.name, gemv: spec, gemm: spec }));
  return [
    ...shared,
    { file: 'kernels.h', text: render('kernels.h', kernelsView(plan, choices)) },
    ...specs.map((spec) => ({
      file: `${spec.name}.cpp`,
      text: render(`${spec.family}.cpp`, kernelView(spec, target)),
    })),
    { file: 'model.cpp', text: tableSource(specs, target) },
  ];
}

/** Builds one library of those kernels in `folder`; returns its path. An unchanged library comes from the user's cache. */
export async function buildKernels(bed: Bed, specs: readonly KernelSpec[], folder: string): Promise<string> {
  mkdirSync(folder, { recursive: true });
  await writeLibrary(folder, kernelSources(specs, bed.target), bed.target, bed.compiler);
  return join(folder, 'model.so');
}
