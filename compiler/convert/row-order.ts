import type { Hyper, RopePairs, TensorIR } from '../ir/model.ts';

/**
 * In which order the rows of a tensor must be read so that rotary pairs lie as `pairs` says: row r of the result is row
 * order[r] of the input. Only queries and keys have such rows; undefined where nothing moves.
 *
 * Hugging Face keeps a pair in rows i and i + n/2 of the n that rotate in a head; GGUF files of LLaMA in 2i and 2i + 1.
 */
export function rowOrder({ name, shape }: TensorIR, hyper: Hyper, pairs: RopePairs): Int32Array | undefined {
  const { headDim, rope } = hyper;
  if (pairs === rope.pairs || !/^blk\.\d+\.attn_[qk]\.weight$/.test(name)) return undefined;
  const half = rope.dimensions / 2;
  const order = Int32Array.from({ length: shape[0] }, (_, row) => row);
  for (let head = 0; head < order.length; head += headDim) {
    for (let i = 0; i < half; i++) {
      const [halves, neighbours] = [
        [head + i, head + i + half],
        [head + 2 * i, head + 2 * i + 1],
      ];
      const [to, from] = pairs === 'half' ? [halves, neighbours] : [neighbours, halves];
      order[to[0]] = from[0];
      order[to[1]] = from[1];
    }
  }
  return order;
}

/** Rows of `bytes`, each `rowBytes` long, in a new order. */
export function reorderRows(bytes: Uint8Array, rowBytes: number, order: Int32Array, into: Uint8Array): void {
  for (let row = 0; row < order.length; row++) {
    const from = order[row] * rowBytes;
    into.set(bytes.subarray(from, from + rowBytes), row * rowBytes);
  }
}
