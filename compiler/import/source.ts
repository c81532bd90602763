import { type FileHandle, open } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import type { FloatEncodingName, ModelIR, TensorIR } from '../ir/model.ts';
import { AbsmeanQuantiser, decodeTernary, FLOAT, isMatrix, isTernary, type Ternary } from './encodings/index.ts';

/** Values read at a time where a tensor is taken as it is: whole blocks of every encoding. */
export const CHUNK_VALUES = 1 << 21;

/** What reading a model's data needs of it. */
export type SourceIR = Pick<ModelIR, 'source' | 'tensors'>;

/** The data of a model's tensors: what everyone reads them through, whatever files and encodings they are in. */
export class ModelSource implements AsyncDisposable {
  private readonly ir: SourceIR;
  private readonly handles: readonly FileHandle[];
  private readonly tensors: ReadonlyMap<string, TensorIR>;

  private constructor(ir: SourceIR, handles: readonly FileHandle[]) {
    this.ir = ir;
    this.handles = handles;
    this.tensors = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  }

  /** Opens the files of a model. Throws what the system refuses. */
  static async open(ir: SourceIR): Promise<ModelSource> {
    const handles: FileHandle[] = [];
    try {
      for (const { path } of ir.source.files) handles.push(await open(path, 'r'));
    } catch (error) {
      await Promise.all(handles.map((handle) => handle.close()));
      throw error;
    }
    return new ModelSource(ir, handles);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.handles.map((handle) => handle.close()));
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  /** A tensor by its name; throws a BitnetError where there is none. */
  tensor(name: string): TensorIR {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new BitnetError(`tensor ${name} is missing`);
    return tensor;
  }

  /** Bytes of a tensor as they are in its file. */
  async read(tensor: TensorIR, offset = 0, bytes = tensor.bytes): Promise<Uint8Array<ArrayBuffer>> {
    const buffer = new Uint8Array(bytes);
    const { bytesRead } = await this.handles[tensor.file].read(buffer, 0, bytes, tensor.offset + offset);
    if (bytesRead !== bytes) throw new BitnetError(`the model file ended inside tensor ${tensor.name}`);
    return buffer;
  }

  /** The bytes of a float tensor, little-endian, in chunks that hold as many values whatever the encoding is. */
  async *chunks(name: string): AsyncGenerator<Uint8Array> {
    const tensor = this.tensor(name);
    const encoding = FLOAT[tensor.encoding as FloatEncodingName];
    const step = (CHUNK_VALUES / encoding.blockValues) * encoding.blockBytes;
    for (let at = 0; at < tensor.bytes; at += step) {
      yield await this.floats(tensor, at, Math.min(step, tensor.bytes - at));
    }
  }

  /** The bytes of `count` rows of a float matrix from row `first`, little-endian. */
  async rows(name: string, first: number, count: number): Promise<Uint8Array<ArrayBuffer>> {
    const tensor = this.tensor(name);
    const rowBytes = tensor.bytes / tensor.shape[0];
    return await this.floats(tensor, first * rowBytes, count * rowBytes);
  }

  /** Whole blocks of a float tensor, little-endian. */
  private async floats(tensor: TensorIR, offset: number, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const read = await this.read(tensor, offset, bytes);
    if (this.ir.source.byteOrder === 'big') FLOAT[tensor.encoding as FloatEncodingName].swapBytes(read);
    return read;
  }

  /** The values of a small float tensor. Throws a BitnetError where one is not finite. */
  async values(name: string): Promise<Float32Array> {
    const tensor = this.tensor(name);
    const encoding = FLOAT[tensor.encoding as FloatEncodingName];
    const bytes = await this.floats(tensor, 0, tensor.bytes);
    const values = new Float32Array(tensor.shape.reduce((a, b) => a * b, 1));
    encoding.decode(bytes, values);
    const { add } = tensor;
    if (add !== undefined) for (let i = 0; i < values.length; i++) values[i] += add;
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw new BitnetError(`tensor ${name}: value ${bad} is ${values[bad]}`);
    return values;
  }

  /**
   * The codes and scale of a ternary matrix, quantised here if it is one of real numbers (`TensorIR.quantise`). The
   * codes go to the start of `into` if it is given and long enough.
   * Throws a BitnetError that names the tensor where its contents cannot be.
   */
  async ternary(name: string, into?: Uint8Array<ArrayBuffer>): Promise<Ternary> {
    const tensor = this.tensor(name);
    const { encoding, shape, scale, tile } = tensor;
    if (!isMatrix(tensor)) throw new BitnetError(`tensor ${name} is not ternary`);
    try {
      if (!isTernary(encoding)) return await this.quantised(tensor, into);
      const { byteOrder } = this.ir.source;
      return decodeTernary(encoding, await this.read(tensor), shape, { byteOrder, scale, tile }, into);
    } catch (error) {
      if (!(error instanceof BitnetError)) throw error;
      throw new BitnetError(`tensor ${name}: ${error.message}`, { hint: error.hint, cause: error });
    }
  }

  /** As `ternary`, with its scale multiplied by the one value of `scaleTensor`, unless that is null, as a float32. */
  async scaledTernary(name: string, scaleTensor: string | null, into: Uint8Array<ArrayBuffer>): Promise<Ternary> {
    const { codes, scale } = await this.ternary(name, into);
    if (scaleTensor === null) return { codes, scale };
    return { codes, scale: Math.fround(scale * (await this.values(scaleTensor))[0]) };
  }

  /** Masters of ternary weights, in two passes over their chunks: all of them as float32 would be the largest thing. */
  private async quantised(tensor: TensorIR, into?: Uint8Array<ArrayBuffer>): Promise<Ternary> {
    const { decode, blockValues, blockBytes } = FLOAT[tensor.encoding as FloatEncodingName];
    const count = tensor.shape.reduce((a, b) => a * b, 1);
    const codes = (into ?? new Uint8Array(count)).subarray(0, count);
    const buffer = new Float32Array(Math.min(count, CHUNK_VALUES));
    const quantiser = new AbsmeanQuantiser();
    const pass = async (use: (values: Float32Array, at: number) => void) => {
      let at = 0;
      for await (const bytes of this.chunks(tensor.name)) {
        const values = buffer.subarray(0, (bytes.length / blockBytes) * blockValues);
        decode(bytes, values);
        use(values, at);
        at += values.length;
      }
    };
    await pass((values) => quantiser.measure(values));
    await pass((values, at) => quantiser.quantise(values, codes.subarray(at)));
    return { codes, scale: Math.fround(quantiser.finish(tensor.quantise === 'any') * (tensor.scale ?? 1)) };
  }
}
