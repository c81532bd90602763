import { BitnetError } from '../../errors.ts';
import { FLOAT, isTernary } from '../import/encodings/index.ts';
import type { FloatEncodingName, ModelIR } from '../ir/model.ts';
import type { ScreenBits } from '../ir/plan.ts';

/** How the output head should be stored. */
export interface HeadRequest {
  /**
   * The encoding of the head's rows; without it, they stay as the model file has them. A head that is the embedding
   * table, but has another encoding, becomes a table of its own.
   */
  readonly head?: FloatEncodingName;
  /**
   * Bits of a coarse copy of the head, by which most of its rows need not be read to find the largest logits: 4, or 5,
   * of which the fifth is read where four do not decide; 0 for none. Default: 5 where the head is larger than caches are
   * and the copy enough smaller.
   */
  readonly screen?: 0 | ScreenBits;
}

/** A table of rows as it is to be packed. */
export interface Table {
  readonly name: string;
  /** Of the model file. */
  readonly tensor: string;
  readonly encoding: FloatEncodingName;
  readonly shape: readonly number[];
}

/**
 * The embedding table, and the head where it is another one.
 * Throws a BitnetError where the encoding that is asked for is none, or its blocks are no part of a row.
 */
export function chooseTables(ir: ModelIR, { head }: HeadRequest): Table[] {
  const table = (name: string, tensor: string): Table | undefined => {
    const found = ir.tensors.find((candidate) => candidate.name === tensor);
    if (!found) return undefined;
    const { encoding, shape } = found;
    if (isTernary(encoding)) throw new Error(`table ${tensor} is ternary`);
    return { name, tensor, encoding, shape };
  };
  const embedding = table('embedding', 'token_embd.weight')!;
  const own = table('head', 'output.weight');
  if (head === undefined) return own ? [embedding, own] : [embedding];
  requireBlocks(head, embedding.shape[1]);
  if (!own && head === embedding.encoding) return [embedding];
  return [embedding, { ...(own ?? embedding), name: 'head', encoding: head }];
}

function requireBlocks(head: FloatEncodingName, cols: number): void {
  const encodings = Object.keys(FLOAT) as FloatEncodingName[];
  const fits = (encoding: FloatEncodingName) => cols % FLOAT[encoding].blockValues === 0;
  const hint = `encodings of a head of ${cols} columns: ${encodings.filter(fits).join(', ')}`;
  if (!encodings.includes(head)) throw new BitnetError(`there is no head encoding '${head}'`, { hint });
  if (fits(head)) return;
  const { blockValues } = FLOAT[head];
  throw new BitnetError(`a head of ${cols} columns cannot be ${head}, which has blocks of ${blockValues}`, { hint });
}
