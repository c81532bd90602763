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
  /** Whether its fma rounds once, as the CPU's does. */
  readonly fuses: boolean;
  /** Whether it is no GPU: a driver that computes on the CPU, to which barriers are dear and launches cheap. */
  readonly fallback: boolean;
  /** Bytes of a binding, and of a buffer, at most. */
  readonly maxBinding: number;
  readonly maxBuffer: number;
}

/** Limits that are asked for as high as the adapter has them. */
const LIMITS = ['maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupsPerDimension'] as const;

const WANTED_FEATURES: readonly GPUFeatureName[] = ['subgroups', 'timestamp-query'];

/** That there is none. */
export const noGpu = (): BitnetError =>
  new BitnetError('there is no GPU that WebGPU reaches', {
    hint: 'It needs a driver: on Linux one for Vulkan, and its loader (apt-get install libvulkan1).',
  });

/** Whether an adapter is no GPU. Browsers of before 2025 say so of the adapter itself. */
export const isFallback = (adapter: GPUAdapter & { readonly isFallbackAdapter?: boolean }): boolean =>
  (adapter.info as GPUAdapterInfo | undefined)?.isFallbackAdapter ?? adapter.isFallbackAdapter ?? false;

/** What a GPU is called, as far as it says: browsers of before 2025 may say nothing. */
export const nameOf = ({
  vendor,
  architecture,
  description,
}: Partial<Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'description'>> = {}): string =>
  description || [vendor, architecture].filter(Boolean).join(' ') || 'a GPU';

/**
 * Opens the GPU that answers first when the fastest one is asked for.
 * @param without flags whose variants are not to be taken
 * @throws BitnetError where there is none, or it does not open
 */
export async function openDevice(gpu: GPU, without: readonly Flag[] = []): Promise<Device> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw noGpu();
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
    name: nameOf(adapter.info),
    flags,
    fuses: await fuses(device),
    fallback: isFallback(adapter),
    maxBinding: Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize),
    maxBuffer: device.limits.maxBufferSize,
  };
}

/** Rounded once, (1 + x)^2 - (1 + 2 x) is x^2; rounded twice, it is zero. x is read, lest the compiler computes it. */
const PROBE = `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@compute @workgroup_size(1)
fn main() {
  let one = 1.0 + x[0];
  x[0] = fma(one, one, -(one + x[0]));
}`;

async function fuses(gpu: GPUDevice): Promise<boolean> {
  const module = gpu.createShaderModule({ code: PROBE });
  const pipeline = await gpu.createComputePipelineAsync({ layout: 'auto', compute: { module, entryPoint: 'main' } });
  const buffer = gpu.createBuffer({ size: 4, usage: USAGE.STORAGE | USAGE.COPY_SRC | USAGE.COPY_DST });
  const result = gpu.createBuffer({ size: 4, usage: USAGE.MAP_READ | USAGE.COPY_DST });
  gpu.queue.writeBuffer(buffer, 0, Float32Array.of(2 ** -13));
  const entries = [{ binding: 0, resource: { buffer } }];
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffer, 0, result, 0, 4);
  gpu.queue.submit([encoder.finish()]);
  await result.mapAsync(MAP_READ);
  const [square] = new Float32Array(result.getMappedRange().slice(0));
  buffer.destroy();
  result.destroy();
  return square !== 0;
}

/** The variant of a shader for a GPU, by its flags and what the model is opened with. */
export function variantOf(shader: { readonly flags: readonly Flag[] }, set: ReadonlySet<Flag>): string {
  return FLAGS.filter((flag) => shader.flags.includes(flag) && set.has(flag)).join('+');
}
