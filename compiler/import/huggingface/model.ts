import { basename, dirname, join, resolve } from 'node:path';
import { BitnetError } from '../../../errors.ts';
import type { ModelIR } from '../../ir/model.ts';
import type { ImportOptions } from '../options.ts';
import { readArchitecture, readHyper } from './config.ts';
import { Fields, MAX_SETTINGS, readJson } from './fields.ts';
import { readPooling } from './pooling.ts';
import { holdsMasters, readQuantization, readUnquantised } from './quantization.ts';
import { type Checkpoint, CONFIG, exists, NAME, readFolder, readSingle, whatElse } from './shards.ts';
import { importTensors, type Meaning } from './tensors.ts';
import { importTokenizer } from './tokenizer.ts';

/** Characters of a model's name: it goes into tables and names of folders. */
const MAX_NAME = 256;

/**
 * Reads a Hugging Face model: a folder, or a single SafeTensors file with its config.json and tokenizer beside it.
 * Throws BitnetError where a file is missing or damaged, or the model computes what we do not.
 */
export async function importHuggingFace(
  path: string,
  kind: 'folder' | 'file',
  options: ImportOptions,
): Promise<ModelIR> {
  const place = resolve(path);
  const folder = kind === 'folder' ? place : dirname(place);
  const file = join(folder, CONFIG);
  if (!(await exists(file))) {
    throw new BitnetError(`${folder}: ${CONFIG} is missing`, { hint: await whatElse(folder) });
  }
  const config = new Fields(file, await readJson(file, MAX_SETTINGS));
  const architecture = readArchitecture(config);
  const hyper = readHyper(config, architecture);
  const weightScale = readQuantization(config);
  const checkpoint = kind === 'folder' ? await readFolder(folder) : await readSingle(folder, basename(place));
  const tied = isTied(config, checkpoint);
  // Beside packed weights, real numbers are no masters of the same model.
  const masters = holdsMasters(config) && !isPacked(checkpoint);
  const quantise = options.force || masters ? 'any' : 'near';
  const unquantised = readUnquantised(config);
  const meaning: Meaning = { architecture, hyper, weightScale, unquantised, tied, quantise };
  const pooling = await readPooling(folder);
  return {
    name: checkpoint.shards[0]?.metadata[NAME]?.slice(0, MAX_NAME) || nameOf(place),
    architecture,
    source: {
      path: place,
      files: checkpoint.shards.map((shard) => ({ path: shard.file, bytes: shard.fileBytes })),
      byteOrder: 'little',
    },
    hyper,
    ...(pooling && { pooling }),
    tensors: await importTensors(checkpoint.shards, meaning),
    tokenizer: await importTokenizer(folder, config, hyper.vocab),
  };
}

/** Whether the head is the embedding table. A model for embeddings has no head, which comes to the same. */
function isTied(config: Fields, { shards }: Checkpoint): boolean {
  const separate = shards.some(({ tensors }) => tensors.some(({ name }) => name === 'lm_head.weight'));
  const tied = config.boolean('tie_word_embeddings', !separate);
  const [name] = config.list('architectures');
  if (!tied && !separate && String(name).endsWith('ForCausalLM')) {
    throw config.fault('tie_word_embeddings', 'is false, but the tensor lm_head.weight is missing');
  }
  return tied;
}

function isPacked({ shards }: Checkpoint): boolean {
  return shards.some(({ tensors }) => tensors.some(({ name }) => name.endsWith('.weight_scale')));
}

/** The folder's name, or the repository's if it is a snapshot in Hugging Face's cache. */
function nameOf(path: string): string {
  const cached = /[/\\]models--(?:.+?)--([^/\\]+)[/\\]snapshots[/\\]/.exec(path);
  return cached?.[1] ?? (basename(path).replace(/\.safetensors$/, '') || 'model');
}
