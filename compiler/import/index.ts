import { BitnetError } from '../../errors.ts';
import type { ModelIR } from '../ir/model.ts';
import { withFile } from './file.ts';
import { deepFreeze } from './freeze.ts';
import { importGguf } from './gguf/model.ts';
import { MAGIC } from './gguf/reader.ts';

const SUPPORTED = 'Supported are GGUF files of versions 2 and 3.';

/**
 * Reads the description of a model: hyper-parameters, the list of its tensors, tokenizer. No tensor data is read but
 * a few rope factors. The file's first bytes decide its format, not its name.
 * Throws BitnetError if the file is missing, damaged or of a kind that is not supported.
 */
export async function importModel(path: string): Promise<ModelIR> {
  const head = await firstBytes(path);
  if (head.toString('latin1', 0, 4) === MAGIC) return deepFreeze(await importGguf(path));
  if (looksLikeSafetensors(head)) {
    throw new BitnetError(`${path} is a SafeTensors file, which this version cannot read yet`, { hint: SUPPORTED });
  }
  throw new BitnetError(`${path} is not a model file that we know`, { hint: SUPPORTED });
}

/** Up to nine bytes from the beginning of a file. */
async function firstBytes(path: string): Promise<Buffer> {
  return withFile(path, async (handle) => {
    if ((await handle.stat()).isDirectory()) {
      throw new BitnetError(`${path} is a folder: folders of Hugging Face models cannot be read yet by this version`, {
        hint: SUPPORTED,
      });
    }
    const head = Buffer.alloc(9);
    const { bytesRead } = await handle.read(head, 0, head.length, 0);
    return head.subarray(0, bytesRead);
  });
}

/** A SafeTensors file begins with the length of its JSON header as a uint64, and then the header's brace. */
function looksLikeSafetensors(head: Buffer): boolean {
  return head.length === 9 && head.readUInt32LE(4) === 0 && head[8] === '{'.charCodeAt(0);
}
