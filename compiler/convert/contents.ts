import { BitnetError } from '../../errors.ts';
import { encodeTernary, FLOAT, isTernary, type Ternary } from '../import/encodings/index.ts';
import { CHUNK_VALUES, type ModelSource } from '../import/source.ts';
import type { FloatEncodingName, TensorIR } from '../ir/model.ts';
import type { Converted, ConvertedFloats, ConvertedTernary } from './recipe.ts';
import { reorderRows } from './row-order.ts';

/** The optional tensor whose value multiplies the scale of a matrix. */
export const scaleName = (matrix: string): string => matrix.replace(/\.weight$/, '.scale');

/** The data of the result's tensors, made from the input's. Keeps room for one matrix of codes, and its new order. */
export class Contents {
  readonly #source: ModelSource;
  #codes = new Uint8Array(0);
  #ordered = new Uint8Array(0);

  constructor(source: ModelSource) {
    this.#source = source;
  }

  /** The codes of a ternary matrix in the result's order of rows, and its scale. Valid until the next call. */
  async ternary({ from, shape, order }: Pick<ConvertedTernary, 'from' | 'shape' | 'order'>): Promise<Ternary> {
    const [rows, cols] = shape;
    const count = rows * cols;
    if (this.#codes.length < count) this.#codes = new Uint8Array(count);
    const factor = scaleName(from.name);
    const scaleTensor = this.#source.has(factor) ? factor : null;
    const { codes, scale } = await this.#source.scaledTernary(from.name, scaleTensor, this.#codes);
    if (order === undefined) return { codes, scale };
    if (this.#ordered.length < count) this.#ordered = new Uint8Array(count);
    reorderRows(codes, cols, order, this.#ordered);
    return { codes: this.#ordered.subarray(0, count), scale };
  }

  /** A float tensor's data as `valueEncoding` says, in the result's order of rows, in chunks of CHUNK_VALUES values. */
  async *floats({ from, order }: Pick<ConvertedFloats, 'from' | 'order'>): AsyncGenerator<Uint8Array> {
    if (from.add !== undefined) {
      yield FLOAT.f32.encode(await this.#source.values(from.name));
      return;
    }
    if (order === undefined) {
      yield* this.#source.chunks(from.name);
      return;
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.#source.chunks(from.name)) chunks.push(chunk);
    const ordered = new Uint8Array(from.bytes);
    reorderRows(Buffer.concat(chunks), from.bytes / order.length, order, ordered);
    const { blockValues, blockBytes } = FLOAT[valueEncoding(from)];
    const step = (CHUNK_VALUES / blockValues) * blockBytes;
    for (let at = 0; at < ordered.length; at += step) yield ordered.subarray(at, at + step);
  }

  /** The bytes of a tensor of the result. Throws a BitnetError that names the tensor where they cannot be. */
  async *bytes(tensor: Converted): AsyncGenerator<Uint8Array> {
    try {
      if (tensor.kind === 'given') yield FLOAT.f32.encode(Float32Array.from(tensor.values));
      else if (tensor.kind === 'floats') yield* this.#recoded(tensor);
      else yield await this.#encoded(tensor);
    } catch (error) {
      if (!(error instanceof BitnetError) || error.message.includes(tensor.name)) throw error;
      throw new BitnetError(`tensor ${tensor.name}: ${error.message}`, { hint: error.hint, cause: error });
    }
  }

  async #encoded(tensor: ConvertedTernary): Promise<Uint8Array> {
    const { codes, scale } = await this.ternary(tensor);
    const kept = tensor.scaleApart ? 1 : scale;
    const { encoding, shape, tile } = tensor;
    return isTernary(encoding) ? encodeTernary(encoding, codes, kept, shape, tile) : dequantised(encoding, codes, kept);
  }

  async *#recoded(tensor: ConvertedFloats): AsyncGenerator<Uint8Array> {
    const { encoding } = tensor;
    const own = valueEncoding(tensor.from);
    if (encoding === own) {
      yield* this.floats(tensor);
      return;
    }
    const values = new Float32Array(CHUNK_VALUES);
    for await (const chunk of this.floats(tensor)) yield FLOAT[encoding].encode(decoded(own, chunk, values));
  }
}

/** The encoding of a float tensor's values. Those that the file has less a constant are only known as float32. */
export function valueEncoding({ encoding, add }: TensorIR): FloatEncodingName {
  return add === undefined ? (encoding as FloatEncodingName) : 'f32';
}

/** The values of a chunk, in the start of `into`. */
export function decoded(encoding: FloatEncodingName, chunk: Uint8Array, into: Float32Array): Float32Array {
  const { blockValues, blockBytes, decode } = FLOAT[encoding];
  const values = into.subarray(0, (chunk.length / blockBytes) * blockValues);
  decode(chunk, values);
  return values;
}

/** Ternary weights as real numbers of 16 bits. */
function dequantised(encoding: 'f16' | 'bf16', codes: Uint8Array, scale: number): Uint8Array {
  const three = new Uint16Array(FLOAT[encoding].encode(Float32Array.of(-scale, 0, scale)).buffer);
  const words = new Uint16Array(codes.length);
  for (let i = 0; i < words.length; i++) words[i] = three[codes[i]];
  return new Uint8Array(words.buffer);
}
