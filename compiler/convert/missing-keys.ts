import type { Gguf, MetadataValue } from '../import/gguf/reader.ts';

/** A key that a file lacks, with the value that follows from its tensors, and how. */
export interface MissingKey {
  readonly key: string;
  readonly value: MetadataValue;
  readonly because: string;
}

/**
 * The keys of an architecture that a file lacks and whose values follow from the shapes of its tensors. How many heads
 * there are does not: queries of 4 heads of 64 values look like those of 8 heads of 32.
 */
export function missingKeys({ metadata, tensors }: Gguf, architecture: string): MissingKey[] {
  const shapes = new Map(tensors.map(({ name, shape }) => [name, shape]));
  const rows = (tensor: string) => shapes.get(tensor)?.[0];
  const number = (name: string) => {
    const value = metadata.get(`${architecture}.${name}`)?.value;
    return typeof value === 'number' ? value : undefined;
  };
  const embedding = shapes.get('token_embd.weight')?.[1];
  const queries = rows('blk.0.attn_q.weight');
  const heads = number('attention.head_count');
  const headDim = number('attention.key_length') ?? quotient(queries, heads);

  const follows: [name: string, value: number | undefined, because: string][] = [
    ['block_count', blocks([...shapes.keys()]), 'so many blk.* there are, without a gap'],
    ['embedding_length', embedding, 'the columns of token_embd.weight'],
    ['feed_forward_length', rows('blk.0.ffn_up.weight'), 'the rows of blk.0.ffn_up.weight'],
    ['vocab_size', rows('token_embd.weight'), 'the rows of token_embd.weight'],
    [
      'attention.head_count_kv',
      quotient(rows('blk.0.attn_k.weight'), headDim),
      `heads of ${headDim} rows in blk.0.attn_k.weight`,
    ],
  ];
  // Without the key, heads share the embedding's width.
  if (headDim !== undefined && heads !== undefined && embedding !== headDim * heads) {
    follows.push(['attention.key_length', headDim, `${heads} heads in the rows of blk.0.attn_q.weight`]);
    follows.push(['attention.value_length', headDim, 'values are as wide as keys']);
  }
  return follows.flatMap(([name, value, because]) => {
    const key = `${architecture}.${name}`;
    return value === undefined || metadata.has(key) ? [] : [{ key, value: { type: 'uint32', value }, because }];
  });
}

/** How many layers the tensors are of, if none is left out. */
function blocks(names: readonly string[]): number | undefined {
  const numbers = new Set(names.flatMap((name) => /^blk\.(\d+)\./.exec(name)?.[1] ?? []).map(Number));
  const count = Math.max(-1, ...numbers) + 1;
  return count > 0 && numbers.size === count ? count : undefined;
}

function quotient(rows: number | undefined, by: number | undefined): number | undefined {
  if (rows === undefined || by === undefined || by === 0) return undefined;
  return rows % by === 0 ? rows / by : undefined;
}
