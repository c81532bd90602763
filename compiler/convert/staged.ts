import { randomBytes } from 'node:crypto';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { WEIGHTS } from '../import/huggingface/shards.ts';

/** A name beside `path` that nobody else uses. */
const besides = (path: string, what: string): string => `${path}.${randomBytes(4).toString('hex')}.${what}`;

/**
 * Makes a file or folder under another name beside `path`, and renames it when it is complete. What was there before is
 * replaced at that moment, or left as it is where `make` fails; then nothing of the new one is left.
 * Throws a BitnetError where something would be lost that the new one does not stand for: see `requirePlace`.
 */
export async function staged<T>(path: string, make: (stage: string) => Promise<T>): Promise<T> {
  const stage = besides(path, 'partial');
  try {
    const result = await make(stage);
    await putInPlace(stage, path);
    return result;
  } catch (error) {
    // People gave the name of the result.
    if (!(error instanceof BitnetError && error.message.includes(stage))) throw error;
    throw new BitnetError(error.message.replaceAll(stage, path), { hint: error.hint, cause: error });
  } finally {
    await rm(stage, { recursive: true, force: true });
  }
}

/**
 * Requires that a result can be put at `path`: in a folder that exists, and in the place of nothing, or of a file if it is
 * one; or if it is a folder, of one that holds no other `files` than the result does.
 */
export async function requirePlace(path: string, files?: readonly string[]): Promise<void> {
  if ((await kindOf(dirname(path))) !== 'folder') {
    throw new BitnetError(`cannot write ${path}: there is no folder ${dirname(path)} (ENOENT)`, {
      hint: 'make the folder first',
    });
  }
  const found = await kindOf(path);
  if (files === undefined) {
    if (found !== 'folder') return;
    throw new BitnetError(`${path} is a folder, but the result is one file`, { hint: 'add the name of the file' });
  }
  if (found === 'file') {
    throw new BitnetError(`${path} is a file, but the result is a folder, with ${files[0]} and others`, {
      hint: 'give the name of a folder',
    });
  }
  const other = found === 'folder' && (await readdir(path)).find((name) => !files.includes(name));
  if (other) {
    throw new BitnetError(`${path} holds ${other}, which would be lost with the folder`, {
      hint: 'give the name of a new folder',
    });
  }
}

/** Whether the weights of a SafeTensors model are to have this name, with the model's other files beside them. */
export const isSingle = (path: string): boolean => path.endsWith('.safetensors');

/** Requires that the files of a model can be put beside its weights: no other model's are there. */
export async function requireNeighbours(path: string, files: readonly string[]): Promise<void> {
  await requirePlace(path);
  if ((await kindOf(path)) === 'file') return;
  const folder = dirname(path);
  const other = (await readdir(folder)).find((name) => name !== WEIGHTS && files.includes(name));
  if (!other) return;
  throw new BitnetError(`${folder} holds the ${other} of another model, which ${basename(path)} would replace`, {
    hint: 'give the name of a new folder',
  });
}

/** Puts the files of a folder beside each other, the weights last: only with them there is a model. */
async function spread(stage: string, path: string, files: readonly string[]): Promise<void> {
  await requireNeighbours(path, files);
  for (const file of files.filter((name) => name !== WEIGHTS)) {
    const place = join(dirname(path), file);
    await rm(place, { recursive: true, force: true });
    await rename(join(stage, file), place);
  }
  await rename(join(stage, WEIGHTS), path);
}

/** Renames over what is there: a file is replaced in one step, a folder must be moved out of the way first. */
async function putInPlace(stage: string, path: string): Promise<void> {
  const files = (await kindOf(stage)) === 'folder' ? await readdir(stage) : undefined;
  if (files && isSingle(path)) return spread(stage, path, files);
  // Much may have come there while the result was made.
  await requirePlace(path, files);
  if ((await kindOf(path)) !== 'folder') return rename(stage, path);
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

async function kindOf(path: string): Promise<'file' | 'folder' | 'nothing'> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 'nothing';
  return found.isDirectory() ? 'folder' : 'file';
}
