import { FLOAT16, toFloat16 } from '../../../artifact/encodings/float16.ts';
import { exp, fma } from './float32.ts';
import { sum } from './rows.ts';

export interface Heads {
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** What scores are multiplied with. */
  readonly attentionScale: number;
}

/** What a cache has of a layer and KV head, from its position `first`. */
export interface Stretch {
  readonly layer: number;
  readonly kvHead: number;
  readonly first: number;
}

/** Keys and values of so many positions: [layer][KV head][position][dimension], in float16 or float32. */
export class KvCache {
  readonly bytes: number;
  readonly #heads: Heads;
  readonly #positions: number;
  readonly #keys: Uint16Array | Float32Array;
  readonly #values: Uint16Array | Float32Array;

  constructor(heads: Heads, positions: number, kv: 'f16' | 'f32') {
    this.#heads = heads;
    this.#positions = positions;
    const size = heads.layers * heads.kvHeads * positions * heads.headDim;
    const make = () => (kv === 'f16' ? new Uint16Array(size) : new Float32Array(size));
    this.#keys = make();
    this.#values = make();
    this.bytes = this.#keys.byteLength + this.#values.byteLength;
  }

  /** Keeps the key and the value of the first position of a stretch. */
  store(at: Stretch, key: Float32Array, value: Float32Array): void {
    write(this.#keys, this.#place(at), key);
    write(this.#values, this.#place(at), value);
  }

  /** Reads the key of a position of a stretch. */
  readKey(at: Stretch, position: number, into: Float32Array): void {
    read(this.#keys, this.#place(at) + position * this.#heads.headDim, into);
  }

  /** Reads its value. */
  readValue(at: Stretch, position: number, into: Float32Array): void {
    read(this.#values, this.#place(at) + position * this.#heads.headDim, into);
  }

  #place({ layer, kvHead, first }: Stretch): number {
    return ((layer * this.#heads.kvHeads + kvHead) * this.#positions + first) * this.#heads.headDim;
  }
}

function write(cache: Uint16Array | Float32Array, at: number, row: Float32Array): void {
  if (cache instanceof Float32Array) cache.set(row, at);
  else for (let i = 0; i < row.length; i++) cache[at + i] = toFloat16(row[i]!);
}

function read(cache: Uint16Array | Float32Array, at: number, into: Float32Array): void {
  if (cache instanceof Float32Array) into.set(cache.subarray(at, at + into.length));
  else for (let i = 0; i < into.length; i++) into[i] = FLOAT16[cache[at + i]!]!;
}

/** Turns the scores from `first` to `count` - 1 into weights that add up to 1; those before weigh nothing. */
function softmax(scores: Float32Array, first: number, count: number): void {
  let highest = Number.NEGATIVE_INFINITY;
  for (let i = first; i < count; i++) highest = Math.max(highest, scores[i]!);
  scores.fill(0, 0, first);
  for (let i = first; i < count; i++) scores[i] = exp(Math.fround(scores[i]! - highest));
  const scale = Math.fround(1 / sum(scores, count));
  for (let i = first; i < count; i++) scores[i]! *= scale;
}

/** Causal grouped-query attention over a cache, a token at a time, in the order of templates/cpp/attention.cpp.hbs. */
export class Attention {
  readonly #heads: Heads;
  readonly #row: Float32Array;
  /** [query of the group][position] */
  readonly #scores: Float32Array[];

  /** Of `context` positions at most. */
  constructor(heads: Heads, context: number) {
    this.#heads = heads;
    this.#row = new Float32Array(heads.headDim);
    const length = Math.ceil(context / 16) * 16;
    this.#scores = Array.from({ length: heads.heads / heads.kvHeads }, () => new Float32Array(length));
  }

  /**
   * out = attention of the queries of one token over the positions `begin` to `position` of its sequence, which begins at
   * `first`; both are [head][dimension].
   */
  attend(
    cache: KvCache,
    layer: number,
    first: number,
    begin: number,
    position: number,
    queries: Float32Array,
    out: Float32Array,
  ): void {
    const { kvHeads, headDim, attentionScale } = this.#heads;
    const group = this.#scores.length;
    const row = this.#row;
    // Lanes count from whole sixteens of positions.
    const start = Math.floor(begin / 16) * 16;
    const count = position + 1 - start;
    for (let kvHead = 0; kvHead < kvHeads; kvHead++) {
      const at = { layer, kvHead, first };
      for (let p = begin; p <= position; p++) {
        cache.readKey(at, p, row);
        for (let i = 0; i < group; i++) {
          const query = (kvHead * group + i) * headDim;
          let score = 0;
          for (let d = 0; d < headDim; d++) score = fma(queries[query + d]!, row[d]!, score);
          this.#scores[i]![p - start] = score * attentionScale;
        }
      }
      for (const scores of this.#scores) softmax(scores, begin - start, count);
      const mixed = out.subarray(kvHead * group * headDim, (kvHead + 1) * group * headDim).fill(0);
      for (let p = begin; p <= position; p++) {
        cache.readValue(at, p, row);
        for (let i = 0; i < group; i++) {
          const weight = this.#scores[i]![p - start]!;
          for (let d = 0; d < headDim; d++) mixed[i * headDim + d] = fma(weight, row[d]!, mixed[i * headDim + d]!);
        }
      }
    }
  }
}
