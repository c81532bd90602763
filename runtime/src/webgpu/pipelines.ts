import type { Access, Flag, WebGpuProgram } from '../../../artifact/webgpu.ts';
import { BitnetError } from '../../../errors.ts';
import { type Device, variantOf } from './device.ts';

const BUFFER_TYPES = { uniform: 'uniform', read: 'read-only-storage', write: 'storage' } as const;

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/**
 * Has the driver compile all shaders at once.
 * @throws BitnetError with the driver's words where it refuses one
 */
export async function createPipelines(
  { gpu, flags, fuses }: Device,
  { shaders, fused }: Pick<WebGpuProgram, 'shaders' | 'fused'>,
  wide: boolean,
  progress: (share: number) => void,
): Promise<Map<string, Pipeline>> {
  const set = new Set<Flag>(wide ? [...flags, 'f32'] : flags);
  const layouts = new Map<string, GPUBindGroupLayout>();
  const layoutOf = (bindings: readonly Access[]): GPUBindGroupLayout => {
    const key = bindings.join();
    const known = layouts.get(key);
    if (known) return known;
    const entries = bindings.map((access, binding) => ({
      binding,
      visibility: 0x4, // GPUShaderStage.COMPUTE
      buffer: { type: BUFFER_TYPES[access] },
    }));
    const layout = gpu.createBindGroupLayout({ entries });
    layouts.set(key, layout);
    return layout;
  };
  const names = Object.keys(shaders);
  let done = 0;
  const create = async (name: string): Promise<[string, Pipeline]> => {
    const shader = shaders[name]!;
    const variant = shader.variants[variantOf(shader, set)]!;
    const code = fuses ? variant : variant.replaceAll(/\bfma\(/g, 'fused(').concat(fused);
    const layout = layoutOf(shader.bindings);
    try {
      const pipeline = await gpu.createComputePipelineAsync({
        label: name,
        layout: gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: { module: gpu.createShaderModule({ label: name, code }), entryPoint: 'main' },
      });
      progress(++done / names.length);
      return [name, { pipeline, layout }];
    } catch (cause) {
      throw new BitnetError(`the GPU's driver does not take shader ${name}: ${(cause as Error).message}`, {
        hint: 'A later driver or browser may; other targets do not need one.',
        cause,
      });
    }
  };
  return new Map(await Promise.all(names.map(create)));
}
