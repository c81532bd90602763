import { mkdir, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BitnetError } from '../../errors.ts';
import {
  type CachedModel,
  type CacheOptions,
  describeFolder,
  dropStalePartials,
  findModel,
  install,
  type ModelRecord,
  modelFolder,
  partialBytes,
  partialFile,
  readRecord,
  unfinished,
  withModel,
} from './cache.ts';
import { fetchFile } from './fetch-file.ts';
import { Hub, type HubFile, type HubOptions } from './hub.ts';
import { type ModelId, modelName, parseModelName } from './names.ts';
import { modelPath, referenceTo } from './resolve.ts';
import { chooseFiles } from './select.ts';
import { hubErrors } from './system-errors.ts';
import { checkFile } from './verify.ts';

export interface DownloadOptions extends CacheOptions, Omit<HubOptions, 'onRetry'> {
  /** A branch, a tag or a commit. Default `main`, or what follows an `@` in the name. */
  readonly revision?: string;
  /** Files of the repository. Default: its only GGUF, or config.json, SafeTensors and what goes with them. */
  readonly files?: readonly string[];
  /** Ask nobody: the model must be there already. Default: whether HF_HUB_OFFLINE is set. */
  readonly offline?: boolean;
}

export interface Download {
  readonly model: CachedModel;
  /** What `load` and `bitnet run` take. Absent where no model is among its files, or it is open which. */
  readonly runsAs?: string;
  /** Of what runs, or of the folder. */
  readonly path: string;
  /** What had to be fetched, in bytes; the rest was there. */
  readonly fetchedBytes: number;
}

/**
 * Brings a model of the Hugging Face Hub into the user's cache, and checks every byte: also of what is there already.
 *
 * A download that is interrupted goes on where it ended. Files take their places when all of them are there and right.
 * Two processes that want the same model take turns.
 *
 * @param name `owner/name` or `owner/name@revision`
 * @throws BitnetError where there is no such model or file, the network or the disk fails, or the bytes are wrong;
 * the signal's reason where that is aborted
 */
export async function downloadModel(name: string, options: DownloadOptions = {}): Promise<Download> {
  const id = parseModelName(name, options.revision);
  const { files = [], offline = isSet(process.env.HF_HUB_OFFLINE) } = options;
  const bring = async (): Promise<Download> => {
    const fetchedBytes = offline ? await findWhole(id, files, options) : await update(id, files, options);
    const model = await describeFolder(modelName(id), modelFolder(id));
    const runsAs = referenceTo(model, files);
    const path = runsAs === undefined ? model.folder : modelPath(model, runsAs.slice(model.name.length + 1));
    return { model, fetchedBytes, path, ...(runsAs !== undefined && { runsAs }) };
  };
  return hubErrors(() => withModel(id, bring, options));
}

/** How the Hub's own tools read a switch. */
const isSet = (value = ''): boolean => ['1', 'on', 'yes', 'true'].includes(value.toLowerCase());

/** Makes sure that a model is there without asking the Hub. */
async function findWhole(id: ModelId, asked: readonly string[], options: DownloadOptions): Promise<number> {
  const name = modelName(id);
  const { folder, record } = await findModel(name).catch((cause) => {
    throw new BitnetError(`${name} has not been downloaded, and we are offline`, {
      hint: 'download it once without --offline and HF_HUB_OFFLINE',
      cause,
    });
  });
  if (!record) throw unfinished(name);
  const missing = asked.find((path) => !record.files.some((file) => file.path === path));
  if (missing !== undefined) throw new BitnetError(`${missing} of ${name} has not been downloaded, and we are offline`);
  for (const { path, bytes, sha256 } of record.files) {
    const { problem } = await checkFile(folder, { path, bytes, checksum: { kind: 'sha256', hex: sha256 } }, options);
    if (problem === undefined) continue;
    throw new BitnetError(`${path} of ${name} is damaged: ${problem}`, {
      hint: 'download the model again without --offline',
    });
  }
  return 0;
}

/** Brings a model's folder to what the Hub has. Returns how many bytes that took. */
async function update(id: ModelId, asked: readonly string[], options: DownloadOptions): Promise<number> {
  const { onProgress, signal } = options;
  const name = modelName(id);
  const folder = modelFolder(id);
  const hub = new Hub({ ...options, onRetry: (message) => onProgress?.({ message }) });
  onProgress?.({ message: `looking for ${name}` });
  const { commit, files } = await hub.describe(id);
  const old = await readRecord(folder);
  const here = old?.files.map(({ path }) => path) ?? [];
  const wanted = chooseFiles(name, files, asked, here);

  const sums = new Map<string, string>();
  const missing: HubFile[] = [];
  for (const file of wanted) {
    const { sha256 } = await checkFile(folder, file, options);
    if (sha256 === undefined) missing.push(file);
    else sums.set(file.path, sha256);
  }
  const fetchedBytes = await requireRoom(folder, missing);
  for (const [index, file] of missing.entries()) {
    signal?.throwIfAborted();
    const of = missing.length > 1 ? ` (${index + 1} of ${missing.length})` : '';
    const message = `downloading ${file.path}${of}`;
    const onBytes = (bytes: number) => onProgress?.({ message, fraction: bytes / (file.bytes || 1) });
    const partial = partialFile(folder, file);
    sums.set(file.path, await fetchFile(hub, id, commit, file, partial, onBytes));
  }
  const record: ModelRecord = {
    format: 1,
    ...id,
    commit,
    downloaded: new Date().toISOString(),
    files: wanted.map(({ path, bytes }) => ({ path, bytes, sha256: sums.get(path)! })),
  };
  const gone = here.filter((path) => !sums.has(path));
  const same = old?.commit === commit && missing.length + gone.length === 0;
  await install(folder, missing, gone, same ? { ...record, downloaded: old.downloaded } : record);
  await dropStalePartials(folder, files);
  return fetchedBytes;
}

/**
 * Makes the folder for partial files, and sees that there is room for what is missing: better now than after an hour.
 * @returns the bytes that must come
 */
async function requireRoom(folder: string, missing: readonly HubFile[]): Promise<number> {
  if (missing.length === 0) return 0;
  const parts = dirname(partialFile(folder, missing[0]));
  await mkdir(parts, { recursive: true });
  let bytes = 0;
  for (const file of missing) bytes += Math.max(file.bytes - (await partialBytes(folder, file)), 0);
  const { bavail, bsize } = await statfs(parts);
  if (bytes <= bavail * bsize) return bytes;
  const mebibytes = (count: number) => Math.ceil(count / 2 ** 20);
  throw new BitnetError(
    `${mebibytes(bytes)} MiB are to come, but the disk of ${folder} has room for ${mebibytes(bavail * bsize)}`,
    { hint: 'make room, or set BITNET_MODELS to a folder on another disk' },
  );
}
