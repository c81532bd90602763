import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import { decodeTernary, FLOAT, type FloatEncodingName, isTernary } from '../import/encodings/index.ts';
import type { ModelIR, TensorIR } from '../ir/model.ts';
import { type PackedTensor, type Plan, pad16 } from '../ir/plan.ts';
import { packI2 } from '../kernels/bitlinear-i2.ts';

/** Bytes copied at a time where a tensor goes to the artifact as it is. */
const COPY_BYTES = 8 << 20;

async function readExactly(handle: FileHandle, tensor: TensorIR, offset: number, bytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(bytes);
  const { bytesRead } = await handle.read(buffer, 0, bytes, tensor.offset + offset);
  if (bytesRead !== bytes) throw new BitnetError(`the model file ended inside tensor ${tensor.name}`);
  return buffer;
}

/** Prefixes the errors of a tensor's bytes with its name. */
function inTensor<T>(tensor: TensorIR, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    throw new BitnetError(`tensor ${tensor.name}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

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
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, this.position);
      done += bytesWritten;
      this.position += bytesWritten;
    }
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
  private readonly ir: ModelIR;
  private readonly source: FileHandle;
  private readonly tensors: ReadonlyMap<string, TensorIR>;
  /** Unpacked codes of one tensor at a time: page faults on fresh memory would cost more than the decoding. */
  private codes = new Uint8Array(0);

  constructor(ir: ModelIR, source: FileHandle) {
    this.ir = ir;
    this.source = source;
    this.tensors = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  }

  private tensor(name: string): TensorIR {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new BitnetError(`tensor ${name} is missing`);
    return tensor;
  }

  /** The values of a small tensor as float32. */
  private async values(name: string): Promise<Float32Array> {
    const tensor = this.tensor(name);
    const encoding = FLOAT[tensor.encoding as FloatEncodingName];
    const bytes = await readExactly(this.source, tensor, 0, tensor.bytes);
    if (this.ir.source.byteOrder === 'big') encoding.swapBytes(bytes);
    const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
    encoding.decode(bytes, values);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new BitnetError(`tensor ${name}: value ${bad} is ${values[bad]}`);
    return values;
  }

  async vector(name: string, size: number): Promise<Uint8Array> {
    const padded = new Float32Array(pad16(size));
    padded.set(await this.values(name));
    return new Uint8Array(padded.buffer);
  }

  async *rows(name: string): AsyncGenerator<Uint8Array> {
    const tensor = this.tensor(name);
    const encoding = FLOAT[tensor.encoding as FloatEncodingName];
    const step = COPY_BYTES - (COPY_BYTES % encoding.blockBytes);
    for (let at = 0; at < tensor.bytes; at += step) {
      const bytes = await readExactly(this.source, tensor, at, Math.min(step, tensor.bytes - at));
      if (this.ir.source.byteOrder === 'big') encoding.swapBytes(bytes);
      yield bytes;
    }
  }

  /** The scales of a fused matrix's row groups, and its packed codes part by part. */
  async matrix(packed: Extract<PackedTensor, { kind: 'codes' }>, prefix: string) {
    const scales = new Float32Array(packed.rows / 16);
    const blocks: Uint8Array[] = [];
    const cols = packed.cols;
    for (const part of packed.parts) {
      const tensor = this.tensor(prefix + part.tensor);
      if (!isTernary(tensor.encoding)) throw new BitnetError(`tensor ${tensor.name} is not ternary`);
      const bytes = await readExactly(this.source, tensor, 0, tensor.bytes);
      const count = part.rows * cols;
      if (this.codes.length < count) this.codes = new Uint8Array(count);
      const { codes, scale } = inTensor(tensor, () =>
        decodeTernary(tensor.encoding as 'i2_s', bytes, count, this.ir.source.byteOrder, this.codes.subarray(0, count)),
      );
      const factor = part.scaleTensor === null ? 1 : (await this.values(prefix + part.scaleTensor))[0];
      scales.fill(scale * factor, part.firstRow / 16, (part.firstRow + pad16(part.rows)) / 16);
      blocks.push(packI2(codes, part.rows, cols));
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
  await using source = await opened(ir.source.file, 'r');
  await using target = await opened(file, 'wx');
  const packer = new Packer(ir, source.handle);
  const writer = new Writer(target.handle);
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
          for await (const bytes of packer.rows(tensor.tensor)) await writer.write(bytes);
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
  await target.handle.sync();
  return writer.digest();
}

/** A file that closes itself at the end of its scope. */
async function opened(file: string, flags: string): Promise<{ handle: FileHandle } & AsyncDisposable> {
  const handle = await open(file, flags);
  return { handle, [Symbol.asyncDispose]: () => handle.close() };
}
