import { DTYPE_BYTES, type Dtype } from '../import/safetensors/dtypes.ts';
import { writeAll, writeTensor, writeWhole } from './whole-file.ts';

/** A tensor to write: its description, and its data, little-endian, in chunks of any size. */
export interface SafetensorsSource {
  readonly name: string;
  readonly dtype: Dtype;
  /** Outermost first: a matrix is [rows, columns]. */
  readonly shape: readonly number[];
  data(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Headers are padded with spaces so that the data begins at a multiple of this. */
const ALIGNMENT = 8;

/**
 * Writes a SafeTensors file, one chunk of tensor data after the other: wide elements before narrow ones, so that all
 * are aligned, else in the order given. The file appears under its name when it is complete, or not at all.
 * `metadata` is the header's `__metadata__`.
 * Throws BitnetError if a tensor's data has another length than its shape asks for, or the system refuses to write.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly SafetensorsSource[],
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const ordered = tensors.toSorted((a, b) => DTYPE_BYTES[b.dtype] - DTYPE_BYTES[a.dtype]);
  await writeWhole(path, async (handle) => {
    await writeAll(handle, header(ordered, metadata));
    for (const tensor of ordered) await writeTensor(handle, tensor, bytesOf(tensor));
  });
}

/** The length of the JSON as a uint64, and the JSON. */
function header(tensors: readonly SafetensorsSource[], metadata: Readonly<Record<string, string>>): Uint8Array {
  const entries: [string, object][] = [['__metadata__', metadata]];
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + bytesOf(tensor);
    entries.push([tensor.name, { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const padded = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT;
  const bytes = Buffer.alloc(8 + padded, ' ');
  bytes.writeBigUInt64LE(BigInt(padded));
  json.copy(bytes, 8);
  return bytes;
}

function bytesOf({ shape, dtype }: SafetensorsSource): number {
  return shape.reduce((count, size) => count * size, 1) * DTYPE_BYTES[dtype];
}
