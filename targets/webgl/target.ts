import { WEBGL } from '../../artifact/machine.ts';
import type { GpuTarget } from '../target.ts';

export const webgl: GpuTarget = {
  id: 'webgl',
  title: 'GPUs of browsers that have nothing better than WebGL 2, by way of gpu.js',
  arch: WEBGL,
  features: [],
  rank: 0,
  architectures: [],
  flags: [],
};
