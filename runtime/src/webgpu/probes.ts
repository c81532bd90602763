import type { WebGpuProgram } from '../../../artifact/webgpu.ts';
import type { Limits } from '../portable/executor.ts';
import { type Device, USAGE } from './device.ts';
import type { Pipeline } from './pipelines.ts';

/** What reading is measured on: more than caches hold. */
const READ_BYTES = 512 << 20;
const ROUNDS = 6;
/** Launches of a round, so that how long one takes to begin does not count. */
const LAUNCHES = 8;
const PRODUCT_GROUPS = 4096;

/** What a GPU reads and multiplies at best, by launches that do nothing else. */
export async function measureLimits(
  { gpu, maxBinding }: Device,
  { probes }: WebGpuProgram,
  pipelines: ReadonlyMap<string, Pipeline>,
  cancelled: () => boolean,
): Promise<Limits> {
  const groups = Math.max(1, Math.floor(Math.min(READ_BYTES, maxBinding) / probes.readBytes / 256));
  const data = gpu.createBuffer({ size: groups * 256 * probes.readBytes, usage: USAGE.STORAGE });
  const seen = gpu.createBuffer({ size: 16, usage: USAGE.STORAGE });
  const best = async (name: string, buffers: readonly GPUBuffer[], work: number, x: number, y: number) => {
    const { pipeline, layout } = pipelines.get(name)!;
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = gpu.createBindGroup({ layout, entries });
    let rate = 0;
    for (let round = 0; round < ROUNDS && !cancelled(); round++) {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let i = 0; i < LAUNCHES; i++) pass.dispatchWorkgroups(x, y);
      pass.end();
      const commands = encoder.finish();
      const begun = performance.now();
      gpu.queue.submit([commands]);
      await gpu.queue.onSubmittedWorkDone();
      rate = Math.max(rate, (LAUNCHES * work) / ((performance.now() - begun) / 1000));
    }
    return rate;
  };
  try {
    const readBytesPerSecond = await best('probe_read', [data, seen], data.size, 256, groups);
    const int8MacsPerSecond = await best('probe_dot', [seen], PRODUCT_GROUPS * probes.macs, PRODUCT_GROUPS, 1);
    return { readBytesPerSecond, int8MacsPerSecond };
  } finally {
    data.destroy();
    seen.destroy();
  }
}
