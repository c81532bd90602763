// The shaders of 0xBitNet (github.com/m96-chan/0xBitNet) on the same shapes, launched as its bitlinear.ts does: each ternary
// matrix by RMS norm where it has one, quantisation and product in passes of their own; then the head. Its attention, residuals
// and activations are left out, so that it does less than a whole step.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDevice, USAGE } from '../../runtime/src/webgpu/device.ts';
import { loadWebGpu } from '../../runtime/src/webgpu/node.ts';
import { shapeByName } from '../shapes/shapes.ts';
import type { Asked } from './main.ts';

const STEPS = 24;

interface Pass {
  readonly title: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly groups: readonly [number, number];
  readonly copy?: readonly [GPUBuffer, GPUBuffer];
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

export async function peer({ peer: folder, shape: name }: Asked): Promise<void> {
  const { gpu } = await openDevice(await loadWebGpu());
  const { embedding, ffn, layers, heads, kvHeads, headDim, vocab } = shapeByName(name);
  const storage = USAGE.STORAGE | USAGE.COPY_DST | USAGE.COPY_SRC;
  const floats = (count: number) => gpu.createBuffer({ size: 4 * count, usage: storage });
  const uniform = (...words: readonly number[]) => {
    const buffer = gpu.createBuffer({ size: 16, usage: USAGE.UNIFORM | USAGE.COPY_DST });
    gpu.queue.writeBuffer(buffer, 0, Uint32Array.from(words));
    return buffer;
  };
  const shader = (file: string) => {
    const code = readFileSync(join(folder, `${file}.wgsl`), 'utf8');
    return gpu.createComputePipeline({
      label: file,
      layout: 'auto',
      compute: { module: gpu.createShaderModule({ code }), entryPoint: 'main' },
    });
  };
  const [rmsnorm, quantize, gemv, head] = ['rmsnorm', 'quantize', 'ternary_gemv', 'f32_matmul'].map(shader) as [
    GPUComputePipeline,
    GPUComputePipeline,
    GPUComputePipeline,
    GPUComputePipeline,
  ];
  const pass = (
    title: string,
    pipeline: GPUComputePipeline,
    buffers: readonly GPUBuffer[],
    groups: readonly [number, number],
    copy?: readonly [GPUBuffer, GPUBuffer],
  ): Pass => ({
    title,
    pipeline,
    group: gpu.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    }),
    groups,
    ...(copy && { copy }),
  });
  const widest = Math.max(embedding, ffn);
  const [x, normed, q, quant, y] = [floats(widest), floats(widest), floats(widest), floats(4), floats(widest)] as [
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
    GPUBuffer,
  ];
  const inputScale = uniform(0);
  const passes: Pass[] = [];
  const linear = (title: string, m: number, k: number, norm: boolean) => {
    const weights = gpu.createBuffer({ size: (m * k) / 4, usage: storage });
    if (norm) passes.push(pass('rmsnorm', rmsnorm, [x, floats(k), normed, uniform(1, k, 0)], [1, 1]));
    passes.push(pass('quantize', quantize, [norm ? normed : x, q, quant, uniform(1, k)], [1, 1]));
    const buffers = [weights, q, floats(m), uniform(m, k, k / 16), inputScale, y];
    passes.push(pass(title, gemv, buffers, [m, 1], [quant, inputScale]));
  };
  for (let layer = 0; layer < layers; layer++) {
    linear('q', heads * headDim, embedding, false);
    linear('k', kvHeads * headDim, embedding, false);
    linear('v', kvHeads * headDim, embedding, false);
    linear('o', embedding, heads * headDim, true);
    linear('gate', ffn, embedding, false);
    linear('up', ffn, embedding, false);
    linear('down', embedding, ffn, true);
  }
  const table = gpu.createBuffer({ size: 2 * vocab * embedding, usage: storage });
  const rows: readonly [number, number] = [Math.min(vocab, 65535), Math.ceil(vocab / 65535)];
  const last = pass('head', head, [x, table, floats(vocab), uniform(1, vocab, embedding)], rows);
  const run = (encoder: GPUCommandEncoder, all: readonly Pass[], querySet?: GPUQuerySet) => {
    all.forEach(({ pipeline, group, groups, copy }, i) => {
      if (copy) encoder.copyBufferToBuffer(copy[0], 0, copy[1], 0, 4);
      const timestampWrites = querySet && {
        querySet,
        beginningOfPassWriteIndex: 2 * i,
        endOfPassWriteIndex: 2 * i + 1,
      };
      const one = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
      one.setPipeline(pipeline);
      one.setBindGroup(0, group);
      one.dispatchWorkgroups(...groups);
      one.end();
    });
  };
  const everything = [...passes, last];
  const took: number[] = [];
  for (let i = 0; i < STEPS; i++) {
    const start = performance.now();
    const encoder = gpu.createCommandEncoder();
    run(encoder, everything);
    gpu.queue.submit([encoder.finish()]);
    await gpu.queue.onSubmittedWorkDone();
    if (i >= 4) took.push(performance.now() - start);
  }
  console.log(`0xBitNet's ternary layers and head, ${everything.length} passes: ${median(took).toFixed(3)} ms a token`);
  if (gpu.features.has('timestamp-query')) {
    const count = 2 * everything.length;
    const querySet = gpu.createQuerySet({ type: 'timestamp', count });
    const resolved = gpu.createBuffer({ size: 8 * count, usage: USAGE.QUERY_RESOLVE | USAGE.COPY_SRC });
    const result = gpu.createBuffer({ size: 8 * count, usage: USAGE.MAP_READ | USAGE.COPY_DST });
    const encoder = gpu.createCommandEncoder();
    run(encoder, everything, querySet);
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, result, 0, 8 * count);
    gpu.queue.submit([encoder.finish()]);
    await result.mapAsync(1);
    const times = new BigUint64Array(result.getMappedRange());
    const by = new Map<string, number[]>();
    everything.forEach(({ title }, i) => {
      by.set(title, [...(by.get(title) ?? []), Number(times[2 * i + 1]! - times[2 * i]!) / 1000]);
    });
    let total = 0;
    for (const [title, all] of by) {
      const sum = all.reduce((a, b) => a + b, 0);
      total += sum;
      console.log(`    ${title.padEnd(26)} ${String(all.length).padStart(4)} × ${(sum / all.length).toFixed(2)} µs`);
    }
    console.log(`    together ${(total / 1000).toFixed(3)} ms of launches`);
  }
  gpu.destroy();
}
