import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { writeAll } from '../export/whole-file.ts';
import { ModelSource } from '../import/source.ts';
import type { ModelIR } from '../ir/model.ts';
import { type PackedTensor, type Plan, pad16 } from '../ir/plan.ts';
import { layoutOf } from '../kernels/index.ts';

/** Appends to the weights file, hashing on the way. */
class Writer {
  private readonly hash = createHash('sha256');
  private readonly handle: FileHandle;
  private position = 0;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.hash.update(bytes);
    await writeAll(this.handle, bytes);
    this.position += bytes.length;
  }

  async padTo(position: number): Promise<void> {
    if (position > this.position) await this.write(new Uint8Array(position - this.position));
  }

  digest(): string {
    return this.hash.digest('hex');
  }
}

/** Packs the tensors of one model; one instance per compilation. */
class Packer {
  private readonly source: ModelSource;
  /** Unpacked codes of one tensor at a time: page faults on fresh memory would cost more than the decoding. */
  private codes = new Uint8Array(0);

  constructor(source: ModelSource) {
    this.source = source;
  }

  async vector(name: string, size: number): Promise<Uint8Array> {
    const padded = new Float32Array(pad16(size));
    padded.set(await this.source.values(name));
    return new Uint8Array(padded.buffer);
  }

  /** The scales of a fused matrix's row groups, and its packed codes part by part. */
  async matrix(packed: Extract<PackedTensor, { kind: 'codes' }>, prefix: string) {
    const scales = new Float32Array(packed.rows / 16);
    const blocks: Uint8Array[] = [];
    const cols = packed.cols;
    for (const part of packed.parts) {
      const count = part.rows * cols;
      if (this.codes.length < count) this.codes = new Uint8Array(count);
      const { codes, scale } = await this.source.ternary(prefix + part.tensor, this.codes);
      const factor = part.scaleTensor === null ? 1 : (await this.source.values(prefix + part.scaleTensor))[0];
      scales.fill(scale * factor, part.firstRow / 16, (part.firstRow + pad16(part.rows)) / 16);
      blocks.push(layoutOf(packed.layout).pack(codes, part.rows, cols));
    }
    return { scales: new Uint8Array(scales.buffer), blocks };
  }
}

/**
 * Writes the packed weights file of a plan, tensor by tensor, so that memory stays at the largest matrix.
 * Returns its sha256.
 * Throws a BitnetError that names the tensor whose contents cannot be.
 */
export async function writeWeights(
  ir: ModelIR,
  plan: Plan,
  file: string,
  onProgress?: (fraction: number) => void,
  signal?: AbortSignal,
): Promise<string> {
  await using source = await ModelSource.open(ir);
  const handle = await open(file, 'wx');
  await using _closing = { [Symbol.asyncDispose]: () => handle.close() };
  const packer = new Packer(source);
  const writer = new Writer(handle);
  const { weights } = plan;

  const write = async (tensors: readonly PackedTensor[], base: number, prefix: string): Promise<void> => {
    let pending: { name: string; blocks: readonly Uint8Array[] } | undefined;
    for (const tensor of tensors) {
      signal?.throwIfAborted();
      await writer.padTo(base + tensor.offset);
      switch (tensor.kind) {
        case 'vector':
          await writer.write(await packer.vector(prefix + tensor.tensor, tensor.size));
          break;
        case 'rows':
          for await (const bytes of source.chunks(tensor.tensor)) await writer.write(bytes);
          break;
        case 'scales': {
          const codes = tensors.find(({ name }) => name === tensor.of) as Extract<PackedTensor, { kind: 'codes' }>;
          const { scales, blocks } = await packer.matrix(codes, prefix);
          await writer.write(scales);
          pending = { name: codes.name, blocks };
          break;
        }
        case 'codes':
          if (pending?.name !== tensor.name) throw new Error(`codes of ${tensor.name} do not follow their scales`);
          for (const block of pending.blocks) await writer.write(block);
          break;
      }
      onProgress?.((base + tensor.offset + tensor.bytes) / weights.bytes);
    }
  };

  await write(weights.shared, 0, '');
  for (let layer = 0; layer < plan.hyper.layers; layer++) {
    await write(weights.layer, weights.layerBase + layer * weights.layerBytes, `blk.${layer}.`);
  }
  await writer.padTo(weights.bytes);
  await handle.sync();
  return writer.digest();
}
