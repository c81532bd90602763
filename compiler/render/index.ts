import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WASM } from '../../artifact/machine.ts';
import { packageRoot } from '../../package-root.ts';
import type { Target } from '../../targets/target.ts';
import type { Plan } from '../ir/plan.ts';
import type { KernelSpec } from '../kernels/spec.ts';
import { type Choice, distinctKernels } from '../passes/select-kernels.ts';
import { render, templateFolder } from './environment.ts';
import {
  attentionFlags,
  attentionView,
  headTable,
  kernelsView,
  kernelTableView,
  kernelView,
  modelView,
  probeView,
  screenOf,
  screenView,
  tableView,
} from './views.ts';
import { renderModuleScript } from './wasm-module.ts';

/** A file of the generated program. */
export interface Source {
  readonly file: string;
  readonly text: string;
}

const rendered = (file: string, view: object): Source => ({ file, text: render(file, view) });

const copied = (file: string, from: string): Source => ({ file, text: readFileSync(from, 'utf8') });

/** The headers that every program of a target has. */
function headers(target: Target): Source[] {
  return [
    copied('abi.h', join(packageRoot(), 'artifact', 'abi.h')),
    copied('primitives.h', join(packageRoot(), 'targets', target.id, 'primitives.h')),
    copied('blocks.h', join(packageRoot(), 'targets', target.id, 'blocks.h')),
    copied('rows.h', join(templateFolder(), 'rows.h')),
    copied('team.h', join(templateFolder(), 'team.h')),
    copied('skip.h', join(packageRoot(), 'targets', target.id, 'skip.h')),
    copied('lists.h', join(templateFolder(), 'lists.h')),
    ...library(target),
  ];
}

/** What stands in for the C++ library, of a target that there is none for. */
function library(target: Target): Source[] {
  if (target.arch !== WASM) return [];
  const folder = join(packageRoot(), 'targets', target.id, 'include');
  return readdirSync(folder)
    .sort()
    .map((file) => copied(`include/${file}`, join(folder, file)));
}

/** Writes one kernel. */
const renderKernel = (spec: KernelSpec, target: Target): Source => ({
  file: `${spec.name}.cpp`,
  text: render(`${spec.family}.cpp`, kernelView(spec, target)),
});

/** Writes the program of a model for one target: all its sources but the build script, which needs their key. */
export function renderSources(plan: Plan, target: Target, choices: readonly Choice[]): Source[] {
  const embedding = plan.weights.shared.find((tensor) => tensor.name === 'embedding')!;
  const screen = screenOf(plan);
  return [
    ...headers(target),
    rendered('kernels.h', kernelsView(choices)),
    rendered('attention.h', attentionFlags(plan)),
    rendered('tables.h', { screened: screen !== undefined }),
    ...distinctKernels(choices).map((spec) => renderKernel(spec, target)),
    rendered('embedding.cpp', tableView(embedding, target)),
    copied('angles.h', join(templateFolder(), 'angles.h')),
    rendered('attention.cpp', attentionView(plan, target)),
    rendered('head.cpp', tableView(headTable(plan), target)),
    ...(screen
      ? [
          copied('screen.h', join(packageRoot(), 'targets', target.id, 'screen.h')),
          rendered('screen.cpp', screenView(screen, headTable(plan), target)),
        ]
      : []),
    rendered('model.cpp', modelView(plan, target, choices)),
    rendered('probe.cpp', probeView(target)),
  ];
}

/** Writes a program that has some kernels and the probes, and can do nothing else. A kernel for many takes `maxTokens`. */
export function renderKernels(specs: readonly KernelSpec[], target: Target, maxTokens: number): Source[] {
  return [
    ...headers(target),
    rendered('kernels.h', { kernels: specs.map(({ name }) => ({ name })) }),
    ...specs.map((spec) => renderKernel(spec, target)),
    { file: 'model.cpp', text: render('kernel_table.cpp', kernelTableView(specs, target, maxTokens)) },
    rendered('probe.cpp', probeView(target)),
  ];
}

/** The files that are compiled. */
export const unitsOf = (sources: readonly Source[]): string[] =>
  sources.map(({ file }) => file).filter((file) => file.endsWith('.cpp'));

/** Writes the build script of those sources. */
export function renderBuildScript(sources: readonly Source[], target: Target, key: string): Source {
  const files = unitsOf(sources);
  if (target.arch === WASM) return { file: 'build.sh', text: renderModuleScript(files, target, key) };
  const tiled = files.filter((file) => file.includes('_gemm_') || file === 'probe.cpp');
  return {
    file: 'CMakeLists.txt',
    text: render('CMakeLists.txt', { target: target.id, files, tiled, flags: target.flags, key }),
  };
}
