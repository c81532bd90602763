import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { WebGpuProgram } from '../../artifact/webgpu.ts';
import { FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { renderWebGpu } from '../../compiler/render/wgsl/index.ts';
import { skip } from '../support/beds.ts';
import { NORMS, sketch } from '../support/model-ir.ts';

/**
 * Whole tiles, and neither they nor words; norms everywhere and windows; heads as wide as there is room for, and wider; heads in
 * tiles, and rows in every encoding.
 */
const MODELS = {
  even: sketch({ heads: 8, kvHeads: 2, embedding: 128, ffn: 256 }),
  ragged: sketch({
    architecture: 'llama',
    embedding: 100,
    ffn: 90,
    heads: 3,
    kvHeads: 3,
    headDim: 24,
    vocab: 97,
    rope: { dimensions: 16 },
    embeddingEncoding: 'bf16',
    headEncoding: 'f32',
  }),
  norms: NORMS,
  wide: sketch({ embedding: 2560, ffn: 6912, heads: 20, kvHeads: 5, headDim: 128 }),
  'heads of 256': sketch({ heads: 2, kvHeads: 1, headDim: 256 }),
  'heads of 512': sketch({ heads: 2, kvHeads: 1, headDim: 512 }),
  'heads of 640': sketch({ heads: 2, kvHeads: 1, headDim: 640 }),
  ...Object.fromEntries(
    (Object.keys(FLOAT) as FloatEncodingName[]).map((encoding) => [
      `head ${encoding}`,
      sketch({ embedding: 256, headEncoding: encoding }),
    ]),
  ),
};

const tests = suite('WGSL');

/** Dawn without a GPU: it validates and computes nothing. */
async function nullDevice(): Promise<GPUDevice | string> {
  try {
    const { create } = await import('webgpu');
    const gpu = create(['backend=null']);
    // Dawn aborts where a device outlives what has made it.
    Object.assign(globalThis, { gpu });
    const adapter = await gpu.requestAdapter();
    return (await adapter?.requestDevice({ requiredFeatures: ['subgroups'] })) ?? 'Dawn has no null backend';
  } catch (error) {
    return `package webgpu does not load: ${(error as Error).message}`;
  }
}

/** What is wrong with a shader, or nothing. */
async function faultsOf(
  device: GPUDevice,
  code: string,
  { bindings }: WebGpuProgram['shaders'][string],
): Promise<string> {
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  if (messages.length > 0) {
    return messages.map(({ lineNum, message }) => `${message}: ${code.split('\n')[lineNum - 1]}`).join('\n');
  }
  const types = { uniform: 'uniform', read: 'read-only-storage', write: 'storage' } as const;
  const entries = bindings.map((access, binding) => ({ binding, visibility: 4, buffer: { type: types[access] } }));
  const layout = device.createPipelineLayout({ bindGroupLayouts: [device.createBindGroupLayout({ entries })] });
  try {
    await device.createComputePipelineAsync({ layout, compute: { module, entryPoint: 'main' } });
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

const device = await nullDevice();
const checked = new Set<string>();
for (const [name, ir] of Object.entries(MODELS)) {
  const title = `every shader of '${name}' is valid, in every variant`;
  if (typeof device === 'string') {
    skip(tests, title, device);
    continue;
  }
  tests(title, async () => {
    for (const [shader, of] of Object.entries(renderWebGpu(planForGpu(ir)).shaders)) {
      for (const [variant, code] of Object.entries(of.variants)) {
        if (checked.has(code)) continue;
        checked.add(code);
        assert.is(await faultsOf(device, code, of), '', `${shader} ${variant}`);
      }
    }
  });
}

if (typeof device !== 'string') {
  tests('a fault is found', async () => {
    const code = '@compute @workgroup_size(1) fn main() { let a: u32 = 1.5; }';
    assert.match(await faultsOf(device, code, { bindings: [], flags: [], variants: {} }), /1\.5/);
  });
  tests.after(() => device.destroy());
}

tests.run();
