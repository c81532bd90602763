import { WEBGPU } from '../../artifact/machine.ts';
import type { GpuTarget } from '../target.ts';

export const webgpu: GpuTarget = {
  id: 'webgpu',
  title: 'any GPU that WebGPU reaches: in browsers, and under Node through the package webgpu',
  arch: WEBGPU,
  features: [],
  rank: 0,
  architectures: [],
  flags: [],
};
