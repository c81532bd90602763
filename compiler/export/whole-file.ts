import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';

const HINTS: Readonly<Record<string, string>> = {
  ENOSPC: 'make room, or write to another disk',
  EACCES: 'choose a folder that you may write to',
  EROFS: 'choose a folder that you may write to',
  ENOENT: 'make the folder first',
};

/**
 * Writes a file that appears under its name when `write` has written all of it, or not at all.
 * Throws a BitnetError where the system refuses, and what `write` throws.
 */
export async function writeWhole(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${process.pid}.partial`;
  try {
    const handle = await open(temporary, 'w');
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    if (error instanceof Error && 'syscall' in error) {
      throw new BitnetError(`cannot write ${path}: ${error.message}; nothing of it was left behind`, {
        hint: HINTS[(error as NodeJS.ErrnoException).code ?? ''],
        cause: error,
      });
    }
    throw error;
  }
}

/** Writes all of `bytes`, however many pieces the system takes them in. */
export async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten;
}

/** A tensor's data, in chunks of any size. */
export interface TensorData {
  readonly name: string;
  data(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Writes a tensor's data, one chunk after the other. Throws a BitnetError if it has another length than `bytes`. */
export async function writeTensor(handle: FileHandle, tensor: TensorData, bytes: number): Promise<void> {
  let written = 0;
  for await (const chunk of tensor.data()) {
    await writeAll(handle, chunk);
    written += chunk.length;
  }
  if (written !== bytes) {
    throw new BitnetError(`the tensor ${tensor.name} has ${written} bytes of data instead of ${bytes}`);
  }
}
