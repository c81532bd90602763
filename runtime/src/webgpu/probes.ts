import type { WebGpuProgram } from '../../../artifact/webgpu.ts';
import type { Limits } from '../portable/executor.ts';
import { type Device, USAGE } from './device.ts';
import type { Pipeline } from './pipelines.ts';

/** What reading is measured on: more than caches hold. */
const READ_BYTES = 512 << 20;
const READ_ROWS = 256;
const PRODUCT_GROUPS = 1024;
const ROUNDS = 6;
/** Launches of a round: more, until they take so long that how long one takes to begin does not count. */
const MOST_LAUNCHES = 64;
const ROUND_MS = 20;

/** What a GPU reads and multiplies at best, by launches that do nothing else. */
export async function measureLimits(
  { gpu, maxBinding }: Device,
  { probes }: WebGpuProgram,
  pipelines: ReadonlyMap<string, Pipeline>,
  cancelled: () => boolean,
): Promise<Limits> {
  const rows = Math.max(1, Math.floor(Math.min(READ_BYTES, maxBinding) / probes.readBytes / READ_ROWS));
  const data = gpu.createBuffer({ size: rows * READ_ROWS * probes.readBytes, usage: USAGE.STORAGE });
  const seen = gpu.createBuffer({ size: 16, usage: USAGE.STORAGE });
  const time = async (name: string, buffers: readonly GPUBuffer[], launches: number, x: number, y: number) => {
    const { pipeline, layout } = pipelines.get(name)!;
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout, entries }));
    for (let i = 0; i < launches; i++) pass.dispatchWorkgroups(x, y);
    pass.end();
    const commands = encoder.finish();
    const begun = performance.now();
    gpu.queue.submit([commands]);
    await gpu.queue.onSubmittedWorkDone();
    return performance.now() - begun;
  };
  const best = async (name: string, buffers: readonly GPUBuffer[], work: number, x: number, y: number) => {
    let launches = 1;
    let rate = 0;
    for (let round = 0; round < ROUNDS && !cancelled(); ) {
      const took = await time(name, buffers, launches, x, y);
      rate = Math.max(rate, (launches * work) / (took / 1000));
      if (took < ROUND_MS && launches < MOST_LAUNCHES) launches *= 4;
      else if (took > ROUNDS * ROUND_MS) break;
      else round++;
    }
    return rate;
  };
  try {
    const readBytesPerSecond = await best('probe_read', [data, seen], data.size, READ_ROWS, rows);
    const int8MacsPerSecond = await best('probe_dot', [seen], PRODUCT_GROUPS * probes.macs, PRODUCT_GROUPS, 1);
    return { readBytesPerSecond, int8MacsPerSecond };
  } finally {
    data.destroy();
    seen.destroy();
  }
}
