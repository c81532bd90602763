import type { FileHandle } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import { encodedBytes } from '../import/encodings/index.ts';
import { MAGIC } from '../import/gguf/reader.ts';
import { ENCODING_NUMBERS } from '../import/gguf/types.ts';
import { type MetadataValue, type Scalar, type ScalarType, VALUE_TYPES } from '../import/gguf/values.ts';
import type { Encoding, TableTile } from '../ir/model.ts';
import { writeAll, writeTensor, writeWhole } from './whole-file.ts';

/** A tensor to write: its description, and its data in chunks of any size, `encodedBytes` bytes in all. */
export interface TensorSource {
  readonly name: string;
  /** Outermost first: a matrix is [rows, columns]. */
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  /** Of TL1 and TL2. */
  readonly tile?: TableTile;
  data(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const ALIGNMENT = 32;
const VERSION = 3;
/** Parts of the header that are written at once. */
const PIECE_PARTS = 8192;

/**
 * Writes a little-endian GGUF file of version 3, one chunk of tensor data after the other. The file appears under its
 * name when it is complete, or not at all. `metadata` keeps its order; it must not hold another `general.alignment`
 * than 32. Throws BitnetError if a tensor's data has another length than announced, or the system refuses to write.
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorSource[],
): Promise<void> {
  await writeWhole(path, async (handle) => {
    await writeHeader(handle, metadata, tensors);
    for (const tensor of tensors) {
      const bytes = bytesOf(tensor);
      await writeTensor(handle, tensor, bytes);
      await writeAll(handle, padding(bytes));
    }
  });
}

/** A type's number, of those that GGUF has. */
function typeOf({ name, encoding }: TensorSource): number {
  const number = ENCODING_NUMBERS[encoding];
  if (number !== undefined) return number;
  throw new BitnetError(`the tensor ${name} cannot be stored as ${encoding} in a GGUF file`);
}

function bytesOf({ shape, encoding, tile }: TensorSource): number {
  return encodedBytes(encoding, shape, tile);
}

/** Writes the header in pieces: a vocabulary is half a million small parts. */
async function writeHeader(
  handle: FileHandle,
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorSource[],
): Promise<void> {
  let written = 0;
  let parts: Uint8Array[] = [];
  const flush = async () => {
    const piece = Buffer.concat(parts);
    await writeAll(handle, piece);
    written += piece.length;
    parts = [];
  };
  for (const part of headerParts(metadata, tensors)) {
    if (parts.push(part) === PIECE_PARTS) await flush();
  }
  await flush();
  await writeAll(handle, padding(written));
}

function* headerParts(
  metadata: ReadonlyMap<string, MetadataValue>,
  tensors: readonly TensorSource[],
): Generator<Uint8Array> {
  yield Buffer.from(MAGIC);
  yield scalar('uint32', VERSION);
  yield scalar('uint64', tensors.length);
  yield scalar('uint64', metadata.size);
  for (const [key, entry] of metadata) {
    yield scalar('string', key);
    yield typeNumber(entry.type);
    yield* valueParts(entry);
  }
  let offset = 0;
  for (const tensor of tensors) {
    yield scalar('string', tensor.name);
    yield scalar('uint32', tensor.shape.length);
    for (const size of tensor.shape.toReversed()) yield scalar('uint64', size);
    yield scalar('uint32', typeOf(tensor));
    yield scalar('uint64', offset);
    const bytes = bytesOf(tensor);
    offset += bytes + padding(bytes).length;
  }
}

function* valueParts(entry: MetadataValue): Generator<Uint8Array> {
  if (entry.type !== 'array') {
    yield scalar(entry.type, entry.value);
    return;
  }
  yield typeNumber(entry.elementType);
  yield scalar('uint64', entry.value.length);
  for (const element of entry.value) yield scalar(entry.elementType, element);
}

function typeNumber(type: ScalarType | 'array'): Uint8Array {
  return scalar('uint32', VALUE_TYPES.indexOf(type));
}

const WRITE: Readonly<Record<ScalarType, (value: Scalar) => Uint8Array>> = {
  uint8: (value) => Uint8Array.of(Number(value)),
  int8: (value) => Uint8Array.of(Number(value)),
  uint16: (value) => packed(2, (view) => view.setUint16(0, Number(value), true)),
  int16: (value) => packed(2, (view) => view.setInt16(0, Number(value), true)),
  uint32: (value) => packed(4, (view) => view.setUint32(0, Number(value), true)),
  int32: (value) => packed(4, (view) => view.setInt32(0, Number(value), true)),
  float32: (value) => packed(4, (view) => view.setFloat32(0, Number(value), true)),
  bool: (value) => Uint8Array.of(value ? 1 : 0),
  string: (value) => {
    const text = Buffer.from(String(value));
    return Buffer.concat([scalar('uint64', text.length), text]);
  },
  uint64: (value) => packed(8, (view) => view.setBigUint64(0, BigInt(value as number | bigint), true)),
  int64: (value) => packed(8, (view) => view.setBigInt64(0, BigInt(value as number | bigint), true)),
  float64: (value) => packed(8, (view) => view.setFloat64(0, Number(value), true)),
};

function scalar(type: ScalarType, value: Scalar): Uint8Array {
  return WRITE[type](value);
}

function packed(bytes: number, set: (view: DataView) => void): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  set(view);
  return new Uint8Array(view.buffer);
}

/** Zeros up to the next multiple of the alignment. */
function padding(bytes: number): Uint8Array {
  return new Uint8Array((ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT);
}
