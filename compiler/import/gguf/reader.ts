import { BitnetError } from '../../../errors.ts';
import { withFile } from '../file.ts';
import { Cursor } from './cursor.ts';
import { type Evidence, resolveType, type TensorType } from './types.ts';
import { type Metadata, type MetadataValue, ValueReader } from './values.ts';

export type { Metadata, MetadataValue, Scalar, ScalarType } from './values.ts';

/** A tensor as the file lists it. */
export interface GgufTensor {
  readonly name: string;
  /** Outermost first: a matrix is [rows, columns]. */
  readonly shape: readonly number[];
  /** ggml's number, and its name or `number N` where we know none. */
  readonly type: number;
  readonly typeName: string;
  /** Where several engines' types have that number: what speaks for each, if it cannot be told. */
  readonly doubt?: string;
  /** Absolute, in the file. */
  readonly offset: number;
  /** Undefined where the type's size is not known. */
  readonly bytes: number | undefined;
}

/** All of a GGUF file but the tensors' data. */
export interface Gguf {
  readonly file: string;
  readonly version: number;
  readonly byteOrder: 'little' | 'big';
  readonly metadata: Metadata;
  readonly tensors: readonly GgufTensor[];
  readonly fileBytes: number;
  /** Where the list of tensors ends, and where their data begins by the file's alignment. */
  readonly headerBytes: number;
  readonly dataStart: number;
}

/** What is wrong with one thing in a file that can still be read on. */
export interface GgufFault {
  /** The tensor that it is about, if it is one. */
  readonly tensor?: string;
  /** Absolute, in the file. */
  readonly offset: number;
  readonly problem: string;
}

/** The first four bytes of every GGUF file, of either byte order. */
export const MAGIC = 'GGUF';

/** Whether a file begins as a GGUF file. */
export async function isGguf(path: string): Promise<boolean> {
  return withFile(path, async (handle) => {
    const bytes = Buffer.alloc(MAGIC.length);
    await handle.read(bytes, 0, bytes.length, 0);
    return bytes.toString('latin1') === MAGIC;
  });
}

const DEFAULT_ALIGNMENT = 32;
const MAX_KEYS = 65_536;
const MAX_TENSORS = 65_536;
/** Names are printed in errors and tables. ggml allows 64 characters for tensors; keys in use are as short. */
const NAME = /^[^\p{Cc}]{1,256}$/u;
/** A key of one byte, its length, a type and a value of one byte. */
const MIN_KEY_BYTES = 8 + 1 + 4 + 1;
/** A name of one byte, its length, the number of dimensions, one dimension, a type and an offset. */
const MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8;

/**
 * Reads the header of a GGUF file, version 2 or 3, of either byte order: metadata and the list of tensors.
 * No data of tensors is read. Every count, length and offset is checked against the file's size before it is used;
 * what fails is a BitnetError that says where in the file.
 *
 * With `faults`, a wrong alignment and tensors in wrong places are noted there instead, and the rest is read: such an
 * alignment is taken for the usual one, and tensors are listed wherever they are said to be.
 */
export async function readGguf(path: string, faults?: GgufFault[]): Promise<Gguf> {
  return withFile(path, async (handle) => {
    const { size } = await handle.stat();
    return readHeader(new Cursor(handle, path, size), faults);
  });
}

/** Throws a fault, or notes it and returns. */
type Report = (problem: string, offset?: number, tensor?: string) => void;

async function readHeader(cursor: Cursor, faults: GgufFault[] | undefined): Promise<Gguf> {
  const report: Report = (problem, offset = cursor.offset, tensor) => {
    if (faults === undefined) throw cursor.fault(problem, offset);
    faults.push({ problem, offset, ...(tensor !== undefined && { tensor }) });
  };
  const version = await readVersion(cursor);
  await cursor.need(16);
  const tensorCount = cursor.count(MIN_TENSOR_BYTES, 'tensors');
  const keyCount = cursor.count(MIN_KEY_BYTES, 'metadata keys');
  if (tensorCount > MAX_TENSORS) throw cursor.fault(`${tensorCount} tensors are more than the limit of ${MAX_TENSORS}`);
  if (keyCount > MAX_KEYS) throw cursor.fault(`${keyCount} metadata keys are more than the limit of ${MAX_KEYS}`);
  const metadata = await readMetadata(cursor, keyCount);
  const alignment = alignmentOf(metadata, report);
  const infos = await readInfos(cursor, tensorCount);
  const headerBytes = cursor.offset;
  const dataStart = Math.ceil(headerBytes / alignment) * alignment;
  return {
    file: cursor.file,
    version,
    byteOrder: cursor.littleEndian ? 'little' : 'big',
    metadata,
    tensors: placeTensors(cursor, infos, dataStart, evidenceOf(metadata, alignment), report),
    fileBytes: cursor.fileBytes,
    headerBytes,
    dataStart,
  };
}

/** Checks the magic and finds out the byte order: versions are small, so the one that makes it small is right. */
async function readVersion(cursor: Cursor): Promise<number> {
  await cursor.need(8);
  const magic = String.fromCharCode(cursor.u8(), cursor.u8(), cursor.u8(), cursor.u8());
  if (magic !== MAGIC) {
    throw new BitnetError(`${cursor.file} is not a GGUF file: it does not begin with the letters ${MAGIC}`);
  }
  const offset = cursor.offset;
  const little = cursor.u32();
  const big = ((little << 24) | ((little & 0xff00) << 8) | ((little >>> 8) & 0xff00) | (little >>> 24)) >>> 0;
  cursor.littleEndian = little <= big;
  const version = Math.min(little, big);
  if (version === 2 || version === 3) return version;
  if (version === 1) {
    throw new BitnetError(`${cursor.file} is a GGUF file of version 1, which is not supported`, {
      hint: 'Convert the model again with a current llama.cpp: versions 2 and 3 are supported.',
    });
  }
  throw cursor.fault(`${version} is not a known GGUF version: 2 and 3 are`, offset);
}

async function readMetadata(cursor: Cursor, count: number): Promise<Metadata> {
  const values = new ValueReader(cursor);
  const metadata = new Map<string, MetadataValue>();
  for (let i = 0; i < count; i++) {
    cursor.reading = `metadata key ${i + 1} of ${count}`;
    const key = await readName(cursor);
    if (metadata.has(key)) throw cursor.fault(`the metadata key ${key} is there twice`);
    cursor.reading = `the metadata of ${key}`;
    metadata.set(key, await values.read());
  }
  return metadata;
}

async function readName(cursor: Cursor): Promise<string> {
  const offset = cursor.offset;
  const name = await cursor.string();
  if (!NAME.test(name)) throw cursor.fault('a name is empty, too long or not printable', offset);
  return name;
}

function alignmentOf(metadata: Metadata, report: Report): number {
  const entry = metadata.get('general.alignment');
  if (entry === undefined) return DEFAULT_ALIGNMENT;
  const { value } = entry;
  if (typeof value === 'number' && value >= 1 && value <= 2 ** 30 && Number.isInteger(Math.log2(value))) return value;
  report(`general.alignment is ${value}, which is not a power of two`);
  return DEFAULT_ALIGNMENT;
}

/** What the metadata say that tells types of the same number apart. */
function evidenceOf(metadata: Metadata, alignment: number): Evidence {
  const fileType = metadata.get('general.file_type')?.value;
  const architecture = metadata.get('general.architecture')?.value;
  return {
    alignment,
    fileType: typeof fileType === 'number' ? fileType : undefined,
    architecture: typeof architecture === 'string' ? architecture : undefined,
  };
}

interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  /** From the start of the data. */
  readonly offset: number;
}

async function readInfos(cursor: Cursor, count: number): Promise<TensorInfo[]> {
  const infos = new Map<string, TensorInfo>();
  for (let i = 0; i < count; i++) {
    cursor.reading = `tensor ${i + 1} of ${count}`;
    const name = await readName(cursor);
    if (infos.has(name)) throw cursor.fault(`the tensor ${name} is there twice`);
    cursor.reading = `the description of tensor ${name}`;
    infos.set(name, await readInfo(cursor, name));
  }
  return [...infos.values()];
}

async function readInfo(cursor: Cursor, name: string): Promise<TensorInfo> {
  await cursor.need(4);
  const start = cursor.offset;
  const dimensions = cursor.u32();
  if (dimensions < 1 || dimensions > 4) throw cursor.fault(`a tensor has ${dimensions} dimensions, not 1 to 4`, start);
  await cursor.need(dimensions * 8 + 12);
  const shape: number[] = [];
  let count = 1;
  for (let i = 0; i < dimensions; i++) {
    const size = Number(cursor.u64());
    count *= size;
    // The file has the innermost dimension first.
    shape.unshift(size);
  }
  if (count < 1 || !Number.isSafeInteger(count)) throw cursor.fault(`the shape ${shape.join(' × ')} cannot be`, start);
  const type = cursor.u32();
  const offset = Number(cursor.u64());
  return { name, shape, type, offset };
}

/** Gives every tensor its place in the file, and checks that it ends within it. */
function placeTensors(
  cursor: Cursor,
  infos: readonly TensorInfo[],
  dataStart: number,
  evidence: Evidence,
  report: Report,
): GgufTensor[] {
  const { alignment } = evidence;
  const spaces = spacesOf(infos, cursor.fileBytes - dataStart);
  const tensors = infos.map(({ name, shape, type: number, offset: relative }, index) => {
    cursor.reading = `the description of tensor ${name}`;
    const offset = dataStart + relative;
    const wrong = (problem: string) => report(problem, offset, name);
    if (relative % alignment !== 0) wrong(`its data at ${offset} is not aligned to ${alignment} bytes`);
    if (offset >= cursor.fileBytes) wrong(`its data would begin at byte ${offset}, past the file's end`);
    const resolved = resolveType(number, shape, spaces[index]!, evidence);
    if (!('type' in resolved)) {
      const { name: typeName, doubt } = resolved;
      return { name, shape, type: number, typeName, offset, bytes: undefined, ...(doubt !== undefined && { doubt }) };
    }
    const bytes = bytesOf(resolved.type, shape, wrong);
    if (bytes !== undefined && offset < cursor.fileBytes && offset + bytes > cursor.fileBytes) {
      wrong(`its ${bytes} bytes of data at ${offset} go past the file's end`);
    }
    return { name, shape, type: number, typeName: resolved.type.name, offset, bytes };
  });
  for (const { problem, offset, tensor } of overlaps(tensors)) report(problem, offset, tensor);
  return tensors;
}

/** Tensors whose data begin before those of another one end. */
export function overlaps(tensors: readonly GgufTensor[]): GgufFault[] {
  const inOrder = tensors.filter(hasSize).sort((a, b) => a.offset - b.offset);
  return inOrder.slice(1).flatMap(({ name, offset }, index) => {
    const before = inOrder[index]!;
    if (before.offset + before.bytes <= offset) return [];
    return [{ tensor: name, offset, problem: `the data of tensor ${name} begin inside those of ${before.name}` }];
  });
}

const hasSize = (tensor: GgufTensor): tensor is GgufTensor & { bytes: number } => tensor.bytes !== undefined;

/** A tensor's bytes; undefined if its shape does not fit its type and `wrong` does not throw. */
function bytesOf(type: TensorType, shape: readonly number[], wrong: (problem: string) => void): number | undefined {
  try {
    return type.bytes(shape);
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    wrong(error.message);
    return undefined;
  }
}

/** The bytes from each tensor's offset to the next higher one, or to the end of the data. */
function spacesOf(infos: readonly TensorInfo[], dataBytes: number): number[] {
  const offsets = [...new Set(infos.map((info) => info.offset))].sort((a, b) => a - b);
  const next = new Map(offsets.map((offset, i) => [offset, offsets[i + 1] ?? dataBytes]));
  return infos.map(({ offset }) => next.get(offset)! - offset);
}
