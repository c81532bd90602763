import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { BitnetError } from '../../errors.ts';
import { withLock } from '../build/lock.ts';
import { modelsFolder } from './folder.ts';
import type { HubFile } from './hub.ts';
import { isSafePath, type ModelId, modelName, parseModelName } from './names.ts';
import { isFolderModel, isGguf } from './select.ts';
import { hubErrors } from './system-errors.ts';

/** Our own notes in a model's folder: what it holds, and what is still on its way. No file of a model is hidden. */
const NOTES = '.bitnet';
const RECORD = 'model.json';

const recordSchema = z.object({
  format: z.literal(1),
  repo: z.string(),
  revision: z.string(),
  commit: z.string(),
  /** When the last of it came, in ISO 8601. */
  downloaded: z.string(),
  files: z
    .array(
      z.object({
        path: z.string().refine(isSafePath),
        bytes: z.int().nonnegative(),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .min(1),
});

/** What a model's folder holds, all of it checked when it came. */
export type ModelRecord = z.infer<typeof recordSchema>;

/** A model of the user's cache. */
export interface CachedModel {
  /** `owner/name`, with `@revision` where that is not the main branch. */
  readonly name: string;
  readonly folder: string;
  /** Absent while the first download is not complete. */
  readonly record: ModelRecord | undefined;
  /** Size of its files. */
  readonly bytes: number;
  /** What is there of files that have not come completely. */
  readonly unfinishedBytes: number;
  /** What it can be loaded as. */
  readonly format: 'gguf' | 'safetensors' | 'none';
}

/** What a long work is at. `fraction` runs from 0 to 1 where it is known. */
export interface HubProgress {
  readonly message: string;
  readonly fraction?: number;
}

export interface CacheOptions {
  readonly onProgress?: (progress: HubProgress) => void;
  readonly signal?: AbortSignal;
}

/** Where a model's files are, or would be. */
export function modelFolder({ repo, revision }: ModelId): string {
  const [owner, name] = modelName({ repo, revision }).split(/\/(.*)/s);
  return join(modelsFolder(), owner, encodeURIComponent(name));
}

/** Where a file of a model arrives. Named by what it is to become, so that nobody goes on with it as another. */
export const partialFile = (folder: string, file: HubFile): string => join(partialFolder(folder), partialName(file));

const partialName = ({ path, checksum }: HubFile): string =>
  `${checksum.hex}.${createHash('sha256').update(path).digest('hex').slice(0, 8)}`;

const partialFolder = (folder: string): string => join(folder, NOTES, 'partial');

/** Runs work that changes a model's folder, one process at a time. */
export async function withModel<T>(
  id: ModelId,
  work: () => Promise<T>,
  { onProgress, signal }: CacheOptions,
): Promise<T> {
  const lock = join(modelsFolder(), '.locks', encodeURIComponent(modelName(id)));
  const onWait = () => onProgress?.({ message: `waiting for another process at work on ${modelName(id)}` });
  try {
    return await withLock(lock, work, { onWait, signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  }
}

/** What is known of a model's folder; nothing where its files are not all there. */
export async function readRecord(folder: string): Promise<ModelRecord | undefined> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(join(folder, NOTES, RECORD), 'utf8')));
  } catch {
    return undefined;
  }
}

/**
 * Puts files that have come completely in their places, and says so in the record. In between there is no record: who is
 * interrupted there has a model that is not complete, never one of two revisions.
 */
export async function install(
  folder: string,
  arrived: readonly HubFile[],
  gone: readonly string[],
  record: ModelRecord,
): Promise<void> {
  const file = join(folder, NOTES, RECORD);
  if (arrived.length + gone.length > 0) await rm(file, { force: true });
  for (const path of gone) await rm(join(folder, ...path.split('/')), { force: true });
  for (const arrival of arrived) {
    const place = join(folder, ...arrival.path.split('/'));
    await mkdir(dirname(place), { recursive: true });
    await rename(partialFile(folder, arrival), place);
  }
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, `${JSON.stringify(record, null, 2)}\n`);
  await rename(`${file}.new`, file);
}

/** Removes the partial files that can become none of `files`. */
export async function dropStalePartials(folder: string, files: readonly HubFile[]): Promise<void> {
  const wanted = new Set(files.map(partialName));
  for (const { name } of await entriesOf(partialFolder(folder))) {
    if (!wanted.has(name)) await rm(join(partialFolder(folder), name), { force: true });
  }
}

/** How many bytes of a file are there already. */
export const partialBytes = (folder: string, file: HubFile): Promise<number> =>
  stat(partialFile(folder, file)).then(
    ({ size }) => size,
    () => 0,
  );

/** Removes a model's folder. The record goes first: who is interrupted leaves a model that is not complete. */
export async function removeFolder(folder: string): Promise<void> {
  await rm(join(folder, NOTES, RECORD), { force: true });
  await rm(folder, { recursive: true, force: true });
}

/** Every model of the cache, by name; also those that are not complete. */
export async function listModels(): Promise<CachedModel[]> {
  return hubErrors(async () => {
    const root = modelsFolder();
    const models: CachedModel[] = [];
    for (const owner of await foldersOf(root)) {
      for (const entry of await foldersOf(join(root, owner))) {
        const id = parseFolder(owner, entry);
        if (id) models.push(await describeFolder(modelName(id), join(root, owner, entry)));
      }
    }
    return models.sort((a, b) => (a.name < b.name ? -1 : 1));
  });
}

/**
 * A model of the cache by its exact name.
 * @throws BitnetError where there is none
 */
export async function findModel(name: string): Promise<CachedModel> {
  const found = (await listModels()).find((model) => model.name === name);
  if (found) return found;
  throw new BitnetError(`no model ${name} has been downloaded`, { hint: 'bitnet model list shows those that have' });
}

/** What is there of a model, if anything. */
export async function describeFolder(name: string, folder: string): Promise<CachedModel> {
  const record = await readRecord(folder);
  const paths = record?.files.map(({ path }) => path) ?? [];
  let unfinishedBytes = 0;
  for (const entry of await entriesOf(partialFolder(folder))) {
    unfinishedBytes += (await stat(join(partialFolder(folder), entry.name))).size;
  }
  return {
    name,
    folder,
    record,
    bytes: record?.files.reduce((sum, file) => sum + file.bytes, 0) ?? 0,
    unfinishedBytes,
    format: paths.some(isGguf) ? 'gguf' : isFolderModel(paths) ? 'safetensors' : 'none',
  };
}

/** The model that a folder is for, unless somebody else has put it there. */
function parseFolder(owner: string, entry: string): ModelId | undefined {
  try {
    return parseModelName(`${owner}/${decodeURIComponent(entry)}`);
  } catch {
    return undefined;
  }
}

/** What is in a folder; nothing where there is no folder. */
async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

const foldersOf = async (folder: string): Promise<string[]> =>
  (await entriesOf(folder)).filter((entry) => entry.isDirectory()).map(({ name }) => name);

/** A model of which only parts are there. */
export const unfinished = (name: string): BitnetError =>
  new BitnetError(`model ${name} has not been downloaded completely`, {
    hint: `bitnet model download ${name} goes on where it ended`,
  });
