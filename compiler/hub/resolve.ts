import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { type CachedModel, listModels, unfinished } from './cache.ts';
import { isRepo } from './names.ts';
import { isFolderModel, isGguf } from './select.ts';

/** Who ends in one of these means a file, not a model of the Hub. */
const MODEL_FILE = /\.(?:gguf|safetensors|bin|json)$/i;

/**
 * The path of a model: that of a file or folder as it is, or that of a downloaded model by its name: `owner/name`,
 * `owner/name@revision`, or `owner/name/file.gguf` for one file of it. Of a path that does not exist, nobody but the
 * reader of models can say more.
 * @throws BitnetError for a name of which nothing has been downloaded, or not all, or more than one GGUF
 */
export async function resolveModel(pathOrName: string): Promise<string> {
  if (!/^\w[^\\]*\/[^\\]+$/.test(pathOrName) || existsSync(pathOrName)) return pathOrName;
  const named = (await listModels()).filter(({ name }) => pathOrName === name || pathOrName.startsWith(`${name}/`));
  const model = named.sort((a, b) => b.name.length - a.name.length)[0];
  if (model) return modelPath(model, pathOrName.slice(model.name.length + 1));
  if (!isRepo(pathOrName.replace(/@.*/s, '')) || MODEL_FILE.test(pathOrName)) return pathOrName;
  throw new BitnetError(`there is no file ${pathOrName}, and no downloaded model of that name`, {
    hint: `bitnet model download ${pathOrName} fetches it from the Hugging Face Hub; bitnet model list shows what is there`,
  });
}

/**
 * What of a downloaded model is loaded: the file asked for, or its GGUF, or its folder.
 * @throws BitnetError where it is not complete, has no such file, or several GGUFs
 */
export function modelPath({ name, folder, record }: CachedModel, file = ''): string {
  if (!record) throw unfinished(name);
  const paths = record.files.map(({ path }) => path);
  if (file !== '') {
    if (paths.includes(file)) return join(folder, ...file.split('/'));
    throw new BitnetError(`${file} of ${name} has not been downloaded`, { hint: `there is ${paths.join(', ')}` });
  }
  const ggufs = paths.filter(isGguf);
  if (ggufs.length === 0) return folder;
  if (ggufs.length === 1) return join(folder, ...ggufs[0].split('/'));
  throw new BitnetError(`${name} has ${ggufs.length} GGUF files`, {
    hint: `say which: ${ggufs.map((path) => `${name}/${path}`).join(', ')}`,
  });
}

/**
 * How a model is called that has just come, so that it can be loaded.
 * @param asked files of it that were asked for: one GGUF among them says which of several
 */
export function referenceTo({ name, record }: CachedModel, asked: readonly string[]): string | undefined {
  const paths = record?.files.map(({ path }) => path) ?? [];
  const ggufs = paths.filter(isGguf);
  if (ggufs.length === 1) return name;
  if (ggufs.length === 0) return isFolderModel(paths) ? name : undefined;
  const meant = asked.filter(isGguf);
  return meant.length === 1 ? `${name}/${meant[0]}` : undefined;
}
