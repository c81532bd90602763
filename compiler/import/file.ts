import { type FileHandle, open, stat } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';

/**
 * Opens a file to read, hands it to `use` and closes it. What the system refuses is a BitnetError, and so is what is no
 * regular file: to open a pipe that nobody writes to would take for ever.
 */
export async function withFile<T>(path: string, use: (handle: FileHandle) => Promise<T>): Promise<T> {
  try {
    if (!(await stat(path)).isFile()) {
      throw new BitnetError(`${path} is not a file`, { hint: 'Folders, pipes and devices cannot be read as one.' });
    }
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
