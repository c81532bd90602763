import { buildTables } from '../../artifact/tokenizer/build.ts';
import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { packTokenizer, unpackTokenizer } from '../../artifact/tokenizer/file.ts';
import { createTokenizer as createFromTables, type Tokenizer } from '../../runtime/src/tokenizer/index.ts';
import { finishInSlices } from '../../slices.ts';

/** The tokenizer that an artifact of these lists has: by way of its file. */
export async function createTokenizer(data: TokenizerData): Promise<Tokenizer> {
  const file = packTokenizer(await finishInSlices(buildTables(data)));
  return createFromTables(unpackTokenizer(file));
}
