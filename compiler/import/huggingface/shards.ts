import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { BitnetError } from '../../../errors.ts';
import { readSafetensors, type Safetensors } from '../safetensors/reader.ts';
import { Fields, MAX_TOKENIZER, readJson, show } from './fields.ts';

export const WEIGHTS = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';
export const CONFIG = 'config.json';
/** The key of a file's own metadata that keeps a model's name, which no other file has. */
export const NAME = 'general.name';

/** What is read of a model's folder: where its settings are, and the headers of the files that hold its tensors. */
export interface Checkpoint {
  readonly folder: string;
  readonly shards: readonly Safetensors[];
}

/**
 * The SafeTensors files of a folder: `model.safetensors`, or those that `model.safetensors.index.json` lists, each
 * with exactly the tensors that it should have.
 * Throws BitnetError where a file is missing or damaged, or the index says otherwise than the files.
 */
export async function readFolder(folder: string): Promise<Checkpoint> {
  if (await exists(join(folder, INDEX))) return { folder, shards: await readShards(folder) };
  if (await exists(join(folder, WEIGHTS))) return { folder, shards: [await readSafetensors(join(folder, WEIGHTS))] };
  throw new BitnetError(`${folder} holds neither ${WEIGHTS} nor ${INDEX}`, { hint: await whatElse(folder) });
}

/** A single SafeTensors file, its settings beside it. Throws BitnetError if it is one of several. */
export async function readSingle(folder: string, file: string): Promise<Checkpoint> {
  const shards = [await readSafetensors(join(folder, file))];
  if (/-\d{5}-of-(?!00001)\d{5}\.safetensors$/.test(file)) {
    throw new BitnetError(`${join(folder, file)} is one of several files of a model`, {
      hint: `Give the folder instead: ${folder}`,
    });
  }
  return { folder, shards };
}

/** Whether there is a file or folder, or a link that leads to one. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function readShards(folder: string): Promise<Safetensors[]> {
  const index = join(folder, INDEX);
  const map = new Fields(index, await readJson(index, MAX_TOKENIZER)).object('weight_map');
  if (map === undefined) throw new BitnetError(`${index}: "weight_map" is missing`);
  const expected = new Map<string, Set<string>>();
  for (const name of map.keys()) {
    const file = map.raw(name);
    if (typeof file !== 'string' || !/^[\w][\w.-]{0,200}\.safetensors$/.test(file)) {
      throw map.fault(name, `is ${show(file)}, not the name of a .safetensors file in this folder`);
    }
    const names = expected.get(file) ?? new Set();
    expected.set(file, names.add(name));
  }
  if (expected.size === 0) throw new BitnetError(`${index}: "weight_map" is empty`);

  const shards: Safetensors[] = [];
  for (const [file, names] of expected) {
    if (!(await exists(join(folder, file)))) {
      throw new BitnetError(`${folder}: the file ${file}, which ${INDEX} lists, is missing`, {
        hint: 'Download it again: the model is not complete.',
      });
    }
    const shard = await readSafetensors(join(folder, file));
    for (const { name } of shard.tensors) {
      if (!names.delete(name)) {
        throw new BitnetError(`${shard.file} holds the tensor ${show(name)}, which ${INDEX} does not place there`);
      }
    }
    const [missing] = names;
    if (missing !== undefined) {
      throw new BitnetError(`${shard.file} lacks the tensor ${show(missing)}, which ${INDEX} places there`);
    }
    shards.push(shard);
  }
  return shards;
}

/** What to do with a folder that holds other files. */
export async function whatElse(folder: string): Promise<string> {
  const files = await readdir(folder);
  const gguf = files.find((file) => file.endsWith('.gguf'));
  if (gguf) return `Give the GGUF file itself: ${join(folder, gguf)}`;
  const single = files.filter((file) => file.endsWith('.safetensors'));
  if (single.length > 0 && !files.includes(CONFIG)) {
    return 'The hyper-parameters of a SafeTensors model are there, and its tokenizer in tokenizer.json beside it.';
  }
  if (single.length === 1) return `Give the file itself: ${join(folder, single[0]!)}`;
  if (files.some((file) => /\.(bin|pth|pt)$/.test(file))) {
    return 'PyTorch files are not read, as they can run code: save the model with safe_serialization=True.';
  }
  return `A model's folder has ${CONFIG}, ${WEIGHTS} and tokenizer.json.`;
}
