import { stat } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import type { ModelIR } from '../ir/model.ts';
import { withFile } from './file.ts';
import { deepFreeze } from './freeze.ts';
import { importGguf } from './gguf/model.ts';
import { MAGIC } from './gguf/reader.ts';
import { importHuggingFace } from './huggingface/model.ts';
import type { ImportOptions } from './options.ts';
import { looksLikeSafetensors } from './safetensors/reader.ts';

export type { ImportOptions } from './options.ts';

/**
 * Reads the description of a model: hyper-parameters, the list of its tensors, tokenizer. No tensor data is read but
 * a few rope factors and weight scales. `path` is a GGUF file, a SafeTensors file with config.json and tokenizer beside
 * it, or a Hugging Face folder; a file's first bytes decide its format, not its name.
 * Throws BitnetError if something is missing, damaged or of a kind that is not supported.
 */
export async function importModel(path: string, options: ImportOptions = {}): Promise<ModelIR> {
  const form = await formOf(path);
  return deepFreeze(form === 'gguf' ? await importGguf(path, options) : await importHuggingFace(path, form, options));
}

/** What a model is stored as: a GGUF file, a SafeTensors file, or a folder of Hugging Face's. */
export type ModelForm = 'gguf' | 'file' | 'folder';

/** Tells a model's form by the first bytes of a file, not by its name. Throws BitnetError for what is none of them. */
export async function formOf(path: string): Promise<ModelForm> {
  if (await isFolder(path)) return 'folder';
  const head = await firstBytes(path);
  if (head.toString('latin1', 0, 4) === MAGIC) return 'gguf';
  if (looksLikeSafetensors(head)) return 'file';
  throw new BitnetError(`${path} is not a model file that we know`, {
    hint: 'Supported are GGUF files of versions 2 and 3, SafeTensors files and Hugging Face folders.',
  });
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );
}

/** Up to nine bytes from the beginning of a file. */
async function firstBytes(path: string): Promise<Buffer> {
  return withFile(path, async (handle) => {
    const head = Buffer.alloc(9);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  });
}
