import { type Machine, probeMachine } from '../artifact/machine.ts';
import { BitnetError } from '../errors.ts';
import { armNeon } from './arm-neon/target.ts';
import { cuda } from './cuda/target.ts';
import { ref } from './ref/target.ts';
import { canRun, type GpuTarget, type Target } from './target.ts';
import { wasmSimd128 } from './wasm-simd128/target.ts';
import { webgl } from './webgl/target.ts';
import { webgpu } from './webgpu/target.ts';
import { x86Avx2 } from './x86-avx2/target.ts';
import { x86Avx512vnni } from './x86-avx512vnni/target.ts';

export { cuda } from './cuda/target.ts';
export { type CpuTarget, canRun, type GpuTarget, isGpu, type Target } from './target.ts';
export { webgl } from './webgl/target.ts';
export { webgpu } from './webgpu/target.ts';

/** Every target but the GPUs', the portable one first. Selection, tests and benches take theirs from here. */
export const targets: readonly Target[] = [ref, x86Avx2, x86Avx512vnni, armNeon, wasmSimd128];

/** Those for GPUs. */
export const gpuTargets: readonly GpuTarget[] = [cuda, webgpu, webgl];

/** The target for GPUs of that id, if it is one. */
export const gpuTargetOf = (id: string): GpuTarget | undefined => gpuTargets.find((target) => target.id === id);

/** The best target for a machine. */
export function nativeTarget(machine: Machine = probeMachine()): Target {
  const able = targets.filter((target) => canRun(target, machine));
  return able.reduce((best, target) => (target.rank > best.rank ? target : best));
}

/**
 * Reads a list of targets as the command line gives it: `all`, or ids with commas, `native` being the best one's.
 * Throws a BitnetError that lists the ids where one is not known.
 */
export function parseTargets(text: string): Target[] {
  if (text === 'all') return [...targets];
  const ids = text.split(',').map((id) => (id.trim() === 'native' ? nativeTarget().id : id.trim()));
  const gpu = ids.map(gpuTargetOf).find(Boolean);
  if (gpu) {
    throw new BitnetError(`target ${gpu.id} packs weights in a way of its own`, { hint: 'compile for it by itself' });
  }
  return [...new Set(ids)].map((id) => {
    const target = targets.find((candidate) => candidate.id === id);
    if (target) return target;
    throw new BitnetError(`there is no target '${id}'`, {
      hint: `targets: ${[...targets, ...gpuTargets].map((candidate) => candidate.id).join(', ')}, or native, or all`,
    });
  });
}

/** As parseTargets, and a target for GPUs, by itself. */
export function parseAnyTargets(text: string): (Target | GpuTarget)[] {
  const gpu = gpuTargetOf(text.trim());
  return gpu ? [gpu] : parseTargets(text);
}

/** A list of targets as lists that may share an artifact each: a target for GPUs is by itself. */
export function shareable(text: string): string[] {
  const ids = text.split(',').map((id) => id.trim());
  const others = ids.filter((id) => !gpuTargetOf(id));
  return [...new Set(ids.filter(gpuTargetOf)), ...(others.length > 0 ? [others.join()] : [])];
}

/** Refuses, with a BitnetError, a target that this machine cannot run: before a program is built for it. */
export function requireRunnable(id: string): void {
  if (id === webgl.id) {
    throw new BitnetError(`target ${id} is for browsers`, {
      hint: `bitnet compile MODEL --target ${id} --web DIR writes a page that runs it`,
    });
  }
  if (gpuTargetOf(id)) return; // the engine says why, once it has asked the driver
  const [target, ...more] = parseTargets(id);
  if (more.length > 0) throw new BitnetError(`a model runs on one target, not on '${id}'`);
  const machine = probeMachine();
  if (canRun(target, machine)) return;
  const needs = [target.arch, ...target.features].join(', ');
  throw new BitnetError(`target ${target.id} does not run on this machine: it needs ${needs}`, {
    hint: 'leave the target out to get the best one for this machine; bitnet targets lists them all',
  });
}
