import { BitnetError } from '../../errors.ts';
import type { HubFile } from './hub.ts';
import { isSafePath } from './names.ts';

/** What goes with the weights of a Hugging Face folder: the files that the importer reads where they are. */
const COMPANIONS = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer.model',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'chat_template.jinja',
  '1_Pooling/config.json',
];
const ONE_FILE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const SHARD = /^[^/]+-\d+-of-\d+\.safetensors$/;
const SHOWN = 20;

export const isGguf = (path: string): boolean => /\.gguf$/i.test(path);
/** Whether files make a Hugging Face folder that can be loaded. */
export const isFolderModel = (paths: readonly string[]): boolean =>
  paths.includes('config.json') && (paths.includes(ONE_FILE) || paths.includes(INDEX));

/**
 * The files of a repository to download: those asked for, or else what our importers need: its GGUF, or config.json with
 * the SafeTensors and what goes with them.
 * @param name what to call the model
 * @param here files that have been downloaded before: they decide between several GGUFs, and come along
 * @throws BitnetError where there is nothing of use or too much of it, and for names that no folder should hold
 */
export function chooseFiles(
  name: string,
  files: readonly HubFile[],
  asked: readonly string[],
  here: readonly string[],
): HubFile[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  for (const path of asked) {
    if (byPath.has(path)) continue;
    throw new BitnetError(`${name} has no file ${path}`, { hint: `it has ${sample(files.map((file) => file.path))}` });
  }
  const paths = asked.length > 0 ? asked : defaultFiles(name, [...byPath.keys()], here);
  const wanted = [...new Set([...paths, ...here.filter((path) => byPath.has(path))])];
  refuseUnsafe(name, wanted);
  return wanted.map((path) => byPath.get(path)!);
}

function defaultFiles(name: string, paths: readonly string[], here: readonly string[]): readonly string[] {
  const all = paths.filter(isGguf);
  const known = all.filter((path) => here.includes(path));
  const ggufs = known.length > 0 ? known : all;
  if (ggufs.length > 1 && known.length === 0) {
    throw new BitnetError(`${name} has ${ggufs.length} GGUF files: choose with --file`, { hint: sample(ggufs) });
  }
  if (ggufs.length > 0) return ggufs;
  if (isFolderModel(paths)) {
    const weights = paths.includes(ONE_FILE) ? [ONE_FILE] : [INDEX, ...paths.filter((path) => SHARD.test(path))];
    return [...COMPANIONS.filter((path) => paths.includes(path)), ...weights];
  }
  throw new BitnetError(`${name} has neither a GGUF file nor config.json with SafeTensors`, {
    hint: `it has ${sample(paths)}; --file downloads any of them`,
  });
}

function refuseUnsafe(name: string, paths: readonly string[]): void {
  const seen = new Set<string>();
  for (const path of paths) {
    if (!isSafePath(path)) {
      throw new BitnetError(`${name} has a file named ${JSON.stringify(path)}, which is not safe to write`, {
        hint: 'tell its owner; --file chooses others',
      });
    }
    const folded = path.normalize('NFC').toLowerCase();
    if (seen.has(folded)) throw new BitnetError(`${name} has two files ${path} but for upper and lower case`);
    seen.add(folded);
  }
}

/** Names for a message: not all of thousands, and nothing in them that a terminal would obey. */
function sample(paths: readonly string[]): string {
  const shown = paths.slice(0, SHOWN).map((path) => path.replace(/\p{C}/gu, '?'));
  if (paths.length > SHOWN) shown.push(`and ${paths.length - SHOWN} more`);
  return shown.join(', ') || 'no files';
}
