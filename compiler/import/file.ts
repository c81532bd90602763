import { type FileHandle, open } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';

/** Opens a file to read, hands it to `use` and closes it. What the system refuses is a BitnetError. */
export async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    const handle = await open(path, 'r');
    try {
      return await use(handle);
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof BitnetError || !isSystemError(error)) throw error;
    throw new BitnetError(`cannot read ${path}: ${error.message}`, { cause: error });
  }
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error;
}
