import type { Description, Layer, Linear, Norm, Weights } from './synthetic-model.ts';

/** A decoder-only ternary transformer in float64, written from the papers and sharing nothing with the compiler. */
export function oracleLogits(model: Description, weights: Weights, tokens: readonly number[]): Float64Array[] {
  return oracleHidden(model, weights, tokens).map((h) =>
    Float64Array.from({ length: model.vocab }, (_, id) => dot(weights.head, id * model.embedding, h)),
  );
}

/** What its head reads: the hidden states after the last norm. */
export function oracleHidden(model: Description, weights: Weights, tokens: readonly number[]): Float64Array[] {
  const caches = weights.layers.map((): Cache => ({ keys: [], values: [] }));
  const factor = model.architecture === 'gemma3' ? Math.sqrt(model.embedding) : 1;
  const added = (y: Float64Array, norm: Norm | null) => (norm ? rmsNorm(y, norm, model.epsilon) : y);
  return tokens.map((token, position) => {
    let x = weights.embedding.slice(token * model.embedding, (token + 1) * model.embedding).map((v) => v * factor);
    weights.layers.forEach((layer, i) => {
      x = add(x, added(attention(model, layer, i, caches[i], position, x), layer.attnPostNorm));
      x = add(x, added(feedForward(model, layer, x), layer.ffnPostNorm));
    });
    return rmsNorm(x, weights.outputNorm, model.epsilon);
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

/** y = W x, with the activations normed where it has a norm, and quantised to int8, one scale a token. */
function bitLinear(model: Description, linear: Linear, input: Float64Array): Float64Array {
  const { rows, cols, codes, scale, norm } = linear;
  const x = norm ? rmsNorm(input, norm, model.epsilon) : input;
  const s = 127 / Math.max(1e-5, ...x.map(Math.abs));
  const q = x.map((value) => Math.min(127, Math.max(-128, halfToEven(value * s))));
  return Float64Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < cols; i++) sum += (codes[row * cols + i] - 1) * q[i];
    return (sum * scale) / s;
  });
}

/** Norms one head where there is a norm for it, and turns it by its position. */
function turn(model: Description, head: Float64Array, norm: Norm | null, position: number, local: boolean): void {
  if (norm) head.set(rmsNorm(head, norm, model.epsilon));
  const dimensions = model.ropeDimensions ?? model.headDim;
  const base = local ? (model.window?.ropeBase ?? 10000) : model.ropeBase;
  for (let pair = 0; pair < dimensions / 2; pair++) {
    const stretch = local ? 1 : (model.ropeLinear ?? 1) * (model.ropeFactors?.[pair] ?? 1);
    const angle = (position * base ** ((-2 * pair) / dimensions)) / stretch;
    const [i, j] = model.architecture === 'llama' ? [2 * pair, 2 * pair + 1] : [pair, pair + dimensions / 2];
    const [a, b] = [head[i], head[j]];
    head[i] = a * Math.cos(angle) - b * Math.sin(angle);
    head[j] = a * Math.sin(angle) + b * Math.cos(angle);
  }
}

/** Whether a layer sees the positions of the window only: Gemma 3's sixth, twelfth, … layers see all. */
function isLocal({ window }: Description, layer: number): boolean {
  if (!window) return false;
  const { pattern = 6 } = window;
  return typeof pattern === 'number' ? (layer + 1) % pattern !== 0 : pattern[layer];
}

function attention(
  model: Description,
  layer: Layer,
  index: number,
  cache: Cache,
  position: number,
  x: Float64Array,
): Float64Array {
  const { heads, kvHeads, headDim, epsilon } = model;
  const local = isLocal(model, index);
  const normed = rmsNorm(x, layer.attnNorm, epsilon);
  const [q, k, v] = [layer.q, layer.k, layer.v].map((linear) => bitLinear(model, linear, normed));
  const part = (all: Float64Array, head: number) => all.subarray(head * headDim, (head + 1) * headDim);
  for (let head = 0; head < heads; head++) turn(model, part(q, head), layer.qNorm, position, local);
  for (let head = 0; head < kvHeads; head++) turn(model, part(k, head), layer.kNorm, position, local);
  cache.keys.push(k);
  cache.values.push(v);

  const first = local ? Math.max(0, position + 1 - model.window!.positions) : 0;
  const scale = model.attentionScale ?? 1 / Math.sqrt(headDim);
  const mixed = new Float64Array(heads * headDim);
  for (let head = 0; head < heads; head++) {
    const query = part(q, head);
    const from = Math.floor((head * kvHeads) / heads) * headDim;
    const scores = cache.keys.slice(first).map((key) => dot(key, from, query) * scale);
    const highest = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - highest));
    const total = powers.reduce((a, b) => a + b, 0);
    powers.forEach((power, at) => {
      for (let d = 0; d < headDim; d++)
        mixed[head * headDim + d] += (power / total) * cache.values[first + at][from + d];
    });
  }
  return bitLinear(model, layer.output, layer.attnSubNorm ? rmsNorm(mixed, layer.attnSubNorm, epsilon) : mixed);
}

function activate(model: Description, g: number): number {
  switch (model.architecture) {
    case 'bitnet-b1.58':
    case 'bitnet-25':
      return Math.max(g, 0) ** 2;
    case 'gemma3':
      return 0.5 * g * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (g + 0.044715 * g ** 3)));
    default:
      return g / (1 + Math.exp(-g));
  }
}

function feedForward(model: Description, layer: Layer, x: Float64Array): Float64Array {
  const normed = rmsNorm(x, layer.ffnNorm, model.epsilon);
  const up = bitLinear(model, layer.up, normed);
  const hidden = bitLinear(model, layer.gate, normed).map((g, i) => activate(model, g) * up[i]);
  return bitLinear(model, layer.down, layer.ffnSubNorm ? rmsNorm(hidden, layer.ffnSubNorm, model.epsilon) : hidden);
}
