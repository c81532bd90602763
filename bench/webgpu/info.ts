// What the GPU is and has.
import { openDevice } from '../../runtime/src/webgpu/device.ts';
import { loadWebGpu } from '../../runtime/src/webgpu/node.ts';

export async function info(): Promise<void> {
  const gpu = await loadWebGpu();
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (!adapter) throw new Error('there is no adapter');
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
  console.log({ vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize });
  console.log('features', [...adapter.features].join(' '));
  console.log('WGSL', [...gpu.wgslLanguageFeatures].join(' '));
  const { limits } = adapter;
  for (const name of [
    'maxStorageBufferBindingSize',
    'maxBufferSize',
    'maxComputeWorkgroupStorageSize',
    'maxComputeInvocationsPerWorkgroup',
    'maxStorageBuffersPerShaderStage',
  ] as const) {
    console.log(name, limits[name]);
  }
  const opened = await openDevice(gpu);
  console.log('opened', opened.name, [...opened.flags].join(' '));
  opened.gpu.destroy();
}
