import type { FileHandle } from 'node:fs/promises';
import { BitnetError } from '../../../errors.ts';
import { withFile } from '../file.ts';
import { DTYPE_BYTES, type Dtype } from './dtypes.ts';
import { duplicateKey } from './duplicate-key.ts';

/** A tensor as the file lists it. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: Dtype;
  /** Outermost first. Empty for a single value. */
  readonly shape: readonly number[];
  /** Absolute, in the file. */
  readonly offset: number;
  readonly bytes: number;
}

/** All of a SafeTensors file but the tensors' data. */
export interface Safetensors {
  readonly file: string;
  readonly fileBytes: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** In the order of their data. */
  readonly tensors: readonly SafetensorsTensor[];
}

/** The reference reader's bound. Headers in use have less than a megabyte. */
const MAX_HEADER_BYTES = 100_000_000;
const MAX_TENSORS = 65_536;
const MAX_NAME = 1024;
const MAX_DIMENSIONS = 8;
const METADATA = '__metadata__';

/**
 * Reads the header of a SafeTensors file: a uint64 with its length, then JSON that gives each tensor's type, shape
 * and place. As the reference reader does, it insists that the tensors fill the rest of the file, without holes and
 * without sharing a byte.
 * Throws BitnetError where the file is damaged, or anything in it contradicts itself.
 */
export async function readSafetensors(file: string): Promise<Safetensors> {
  return withFile(file, async (handle) => {
    const { size } = await handle.stat();
    const json = await readHeader(handle, file, size);
    const begin = 8 + json.length;
    const header = parse(json, file);
    const { [METADATA]: metadata = {}, ...entries } = header;
    checkMetadata(metadata, file);
    const names = Object.keys(entries);
    if (names.length > MAX_TENSORS) throw fault(file, `its header lists ${names.length} tensors`);
    const tensors = names
      .map((name) => readTensor(name, entries[name], file, begin))
      .sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
    checkPlaces(tensors, file, begin, size);
    return { file, fileBytes: size, metadata, tensors };
  });
}

/** Whether a file that begins with these nine bytes may be a SafeTensors file. */
export function looksLikeSafetensors(head: Buffer): boolean {
  return head.length === 9 && head.readUInt32LE(4) === 0 && head[8] === '{'.charCodeAt(0);
}

async function readHeader(handle: FileHandle, file: string, fileBytes: number): Promise<Buffer> {
  const length = Buffer.alloc(8);
  if (fileBytes < 8 || (await handle.read(length, 0, 8, 0)).bytesRead < 8) {
    throw fault(file, `it has ${fileBytes} bytes, less than the length of a header takes`);
  }
  const bytes = length.readBigUInt64LE();
  const most = Math.min(MAX_HEADER_BYTES, fileBytes - 8);
  if (bytes > BigInt(most)) throw fault(file, `its header would have ${bytes} bytes, more than ${most}`);
  const json = Buffer.alloc(Number(bytes));
  const { bytesRead } = await handle.read(json, 0, json.length, 8);
  if (bytesRead < json.length) throw fault(file, 'it ends inside its header');
  return json;
}

function parse(json: Buffer, file: string): Record<string, unknown> {
  let text: string;
  let header: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
    header = JSON.parse(text);
  } catch (cause) {
    throw fault(file, `its header is not JSON: ${(cause as Error).message.slice(0, 200)}`, cause);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw fault(file, 'its header is not a JSON object');
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw fault(file, `its header names ${quote(twice)} twice`);
  return header as Record<string, unknown>;
}

function checkMetadata(metadata: unknown, file: string): asserts metadata is Record<string, string> {
  const isObject = typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata);
  if (isObject && Object.values(metadata).every((value) => typeof value === 'string')) return;
  throw fault(file, `its ${METADATA} is not a table of texts`);
}

function readTensor(name: string, entry: unknown, file: string, begin: number): SafetensorsTensor {
  if (name === '' || name.length > MAX_NAME) {
    throw fault(file, `a tensor's name has ${name.length} characters, not 1 to ${MAX_NAME}`);
  }
  const wrong = (problem: string) => fault(file, `the tensor ${quote(name)} ${problem}`);
  if (typeof entry !== 'object' || entry === null) throw wrong('has no description');
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) {
    throw wrong(`has the type ${quote(String(dtype))}, which is not supported`);
  }
  if (!isSizes(shape) || shape.length > MAX_DIMENSIONS) throw wrong('has no valid shape');
  if (!isSizes(offsets) || offsets.length !== 2) throw wrong('has no valid data_offsets');
  const bytes = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype as Dtype]);
  const [from, to] = offsets as [number, number];
  if (!Number.isSafeInteger(bytes) || to - from !== bytes) {
    throw wrong(`of ${dtype} [${shape.join(' × ')}] takes ${bytes} bytes, but its data_offsets give ${to - from}`);
  }
  return { name, dtype: dtype as Dtype, shape, offset: begin + from, bytes };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** Each tensor begins where the one before it ends, the first after the header, and the last ends with the file. */
function checkPlaces(tensors: readonly SafetensorsTensor[], file: string, begin: number, fileBytes: number): void {
  let end = begin;
  for (const { name, offset, bytes } of tensors) {
    if (offset + bytes > fileBytes) {
      throw fault(file, `the data of the tensor ${quote(name)} ends ${offset + bytes - fileBytes} bytes past its end`);
    }
    if (offset < end) throw fault(file, `the data of the tensor ${quote(name)} overlaps that of another`);
    if (offset > end)
      throw fault(file, `there are ${offset - end} bytes before the tensor ${quote(name)} that are no tensor's`);
    end += bytes;
  }
  if (end !== fileBytes) throw fault(file, `there are ${fileBytes - end} bytes after the last tensor`);
}

function fault(file: string, problem: string, cause?: unknown): BitnetError {
  return new BitnetError(`${file} is not a valid SafeTensors file: ${problem}`, {
    hint: 'The file is damaged or was not downloaded completely.',
    cause,
  });
}

function quote(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}
