import type { Description, Layer, Linear, Norm, Weights } from './synthetic-model.ts';

/** A decoder-only ternary transformer in float64, written from the papers and sharing nothing with the compiler. */
export function oracleLogits(model: Description, weights: Weights, tokens: readonly number[]): Float64Array[] {
  const caches = weights.layers.map((): Cache => ({ keys: [], values: [] }));
  return tokens.map((token, position) => {
    let x = weights.embedding.slice(token * model.embedding, (token + 1) * model.embedding);
    weights.layers.forEach((layer, i) => {
      x = add(x, attention(model, layer, caches[i], position, x));
      x = add(x, feedForward(model, layer, x));
    });
    const h = rmsNorm(x, weights.outputNorm, model.epsilon);
    return Float64Array.from({ length: model.vocab }, (_, id) => dot(weights.head, id * model.embedding, h));
  });
}

interface Cache {
  readonly keys: Float64Array[];
  readonly values: Float64Array[];
}

const add = (a: Float64Array, b: Float64Array) => a.map((value, i) => value + b[i]);

function dot(a: Float64Array, from: number, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[from + i] * b[i];
  return sum;
}

function rmsNorm(x: Float64Array, weight: Norm, epsilon: number): Float64Array {
  const mean = dot(x, 0, x) / x.length;
  return x.map((value, i) => (value / Math.sqrt(mean + epsilon)) * weight[i]);
}

function halfToEven(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/** y = W x, with the activations quantised to int8, one scale a token. */
function bitLinear({ rows, cols, codes, scale }: Linear, x: Float64Array): Float64Array {
  const s = 127 / Math.max(1e-5, ...x.map(Math.abs));
  const q = x.map((value) => Math.min(127, Math.max(-128, halfToEven(value * s))));
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < cols; i++) sum += (codes[row * cols + i] - 1) * q[i];
    return (sum * scale) / s;
  });
}

/** Turns one head by its position. */
function rotate(model: Description, head: Float64Array, position: number): void {
  const dimensions = model.ropeDimensions ?? model.headDim;
  for (let pair = 0; pair < dimensions / 2; pair++) {
    const stretch = (model.ropeLinear ?? 1) * (model.ropeFactors?.[pair] ?? 1);
    const angle = (position * model.ropeBase ** ((-2 * pair) / dimensions)) / stretch;
    const [i, j] = model.architecture === 'llama' ? [2 * pair, 2 * pair + 1] : [pair, pair + dimensions / 2];
    const [a, b] = [head[i], head[j]];
    head[i] = a * Math.cos(angle) - b * Math.sin(angle);
    head[j] = a * Math.sin(angle) + b * Math.cos(angle);
  }
}

function attention(model: Description, layer: Layer, cache: Cache, position: number, x: Float64Array): Float64Array {
  const { heads, kvHeads, headDim, epsilon } = model;
  const normed = rmsNorm(x, layer.attnNorm, epsilon);
  const [q, k, v] = [layer.q, layer.k, layer.v].map((linear) => bitLinear(linear, normed));
  for (let head = 0; head < heads; head++) rotate(model, q.subarray(head * headDim, (head + 1) * headDim), position);
  for (let head = 0; head < kvHeads; head++) rotate(model, k.subarray(head * headDim, (head + 1) * headDim), position);
  cache.keys.push(k);
  cache.values.push(v);

  const mixed = new Float64Array(heads * headDim);
  for (let head = 0; head < heads; head++) {
    const query = q.subarray(head * headDim, (head + 1) * headDim);
    const from = Math.floor((head * kvHeads) / heads) * headDim;
    const scores = cache.keys.map((key) => dot(key, from, query) / Math.sqrt(headDim));
    const highest = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - highest));
    const total = powers.reduce((a, b) => a + b, 0);
    powers.forEach((power, at) => {
      for (let d = 0; d < headDim; d++) mixed[head * headDim + d] += (power / total) * cache.values[at][from + d];
    });
  }
  return bitLinear(layer.output, layer.attnSubNorm ? rmsNorm(mixed, layer.attnSubNorm, epsilon) : mixed);
}

function feedForward(model: Description, layer: Layer, x: Float64Array): Float64Array {
  const normed = rmsNorm(x, layer.ffnNorm, model.epsilon);
  const up = bitLinear(layer.up, normed);
  const relu2 = model.architecture === 'bitnet-b1.58' || model.architecture === 'bitnet-25';
  const hidden = bitLinear(layer.gate, normed).map((g, i) => {
    const activated = relu2 ? Math.max(g, 0) ** 2 : g / (1 + Math.exp(-g));
    return activated * up[i];
  });
  return bitLinear(layer.down, layer.ffnSubNorm ? rmsNorm(hidden, layer.ffnSubNorm, model.epsilon) : hidden);
}
