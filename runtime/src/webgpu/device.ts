import { FLAGS, type Flag } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';

/** Bits of GPUBufferUsage and GPUMapMode, which not every place that has a GPU has as globals. */
export const USAGE = {
  MAP_READ: 0x1,
  COPY_SRC: 0x4,
  COPY_DST: 0x8,
  UNIFORM: 0x40,
  STORAGE: 0x80,
  QUERY_RESOLVE: 0x200,
} as const;
export const MAP_READ = 1;

/** A GPU that has been opened. */
export interface Device {
  readonly gpu: GPUDevice;
  /** What it is called, as far as it says. */
  readonly name: string;
  /** Which variants of shaders it takes. */
  readonly flags: ReadonlySet<Flag>;
  /** Bytes of a binding, and of a buffer, at most. */
  readonly maxBinding: number;
  readonly maxBuffer: number;
}

/** Limits that are asked for as high as the adapter has them. */
const LIMITS = ['maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupsPerDimension'] as const;

const WANTED_FEATURES: readonly GPUFeatureName[] = ['subgroups', 'timestamp-query'];

/** The GPU that answers first when the fastest one is asked for. @throws BitnetError where there is none */
export async function findAdapter(gpu: GPU): Promise<GPUAdapter> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter) return adapter;
  throw new BitnetError('there is no GPU that WebGPU reaches', {
    hint: 'It needs a driver: on Linux one for Vulkan, and its loader (apt-get install libvulkan1).',
  });
}

/** What a GPU is called, as far as it says. */
export function nameOf({ info: { vendor, architecture, description } }: GPUAdapter): string {
  return description || [vendor, architecture].filter(Boolean).join(' ') || 'a GPU';
}

/**
 * Opens the GPU that answers first when the fastest one is asked for.
 * @param without flags whose variants are not to be taken
 * @throws BitnetError where there is none, or it does not open
 */
export async function openDevice(gpu: GPU, without: readonly Flag[] = []): Promise<Device> {
  const adapter = await findAdapter(gpu);
  const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature));
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (cause) {
    throw new BitnetError(`the GPU does not open: ${(cause as Error).message}`, { cause });
  }
  const flags = new Set<Flag>();
  if (gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product')) flags.add('dot4');
  if (device.features.has('subgroups')) flags.add('subgroups');
  for (const flag of without) flags.delete(flag);
  return {
    gpu: device,
    name: nameOf(adapter),
    flags,
    maxBinding: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
    maxBuffer: device.limits.maxBufferSize,
  };
}

/** The variant of a shader for a GPU, by its flags and what the model is opened with. */
export function variantOf(shader: { readonly flags: readonly Flag[] }, set: ReadonlySet<Flag>): string {
  return FLAGS.filter((flag) => shader.flags.includes(flag) && set.has(flag)).join('+');
}
