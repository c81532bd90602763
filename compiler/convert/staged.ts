import { randomBytes } from 'node:crypto';
import { rename, rm, stat } from 'node:fs/promises';

/** A name beside `path` that nobody else uses. */
const besides = (path: string, what: string): string => `${path}.${randomBytes(4).toString('hex')}.${what}`;

/**
 * Makes a file or folder under another name beside `path`, and renames it when it is complete. What was there before is
 * replaced at that moment, or left as it is where `make` fails; then nothing of the new one is left.
 */
export async function staged<T>(path: string, make: (stage: string) => Promise<T>): Promise<T> {
  const stage = besides(path, 'partial');
  try {
    const result = await make(stage);
    await putInPlace(stage, path);
    return result;
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/** Renames over what is there: a file is replaced in one step, a folder must be moved out of the way first. */
async function putInPlace(stage: string, path: string): Promise<void> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return rename(stage, path);
  const old = besides(path, 'old');
  await rename(path, old);
  try {
    await rename(stage, path);
  } catch (error) {
    await rename(old, path);
    throw error;
  }
  await rm(old, { recursive: true, force: true });
}
