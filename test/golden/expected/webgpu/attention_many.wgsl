// Causal attention of tokens that follow each other, 8 query heads over 2 of keys and values: a workgroup takes one head
// of 8 tokens. Of 256 positions at a time, a thread scores some for four tokens, sixteen threads find a token's
// weights, and each thread adds up a pair of values for four tokens. Contexts of up to 256 positions are taken whole, in
// the order of the CPU: all scores, then their weights, then the values.
// Written from templates/wgsl/attention_many.wgsl.hbs.
// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
struct Token {
  id: i32,
  position: i32,
  sequence: i32,
  logits_row: i32, // or -1
  hidden_row: i32, // or -1
}

// What a step is told.
struct Step {
  tokens: u32,
  rows: u32,        // of logits
  splits: u32,      // that attention cuts a token's context into
  choices: u32,     // logits of a row that are looked at
  kv_first: u32,    // where in a layer's cache the first sequence begins, in cells
  kv_sequence: u32, // cells from one sequence to the next
  kv_capacity: u32, // positions of a sequence
  keep: u32,        // how many of the largest logits are wanted
  margin: f32,      // and how far below them still more
  more: u32,        // how many rows are wanted whatever their logits
  token: array<Token>,
}
@group(0) @binding(1) var<storage, read> step: Step;
@group(0) @binding(2) var<storage, read> qkv: array<f32>;
@group(0) @binding(3) var<storage, read> kv: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const SHARING = 4u; // heads that share keys and values
const DIM = 16u;
const STRIDE = 192u; // from one token's to the next
const PAIRS = 8u;
const QUERIES = 8u; // tokens
const FOURS = QUERIES / 4u;
const BLOCK = 256u; // positions
const ROOM = 263u; // positions that are taken whole where one of the tokens wants that
const PER = 1u; // pairs that a thread sums
const POSITIONS = 4u; // that a thread scores at once
const AHEAD = 16u; // loads of values that are on their way at once
const LOWEST = -3e38;

// Where a sequence's keys of a KV head begin, in pairs; its values lie behind them: [KV head][keys, values][position][pair].
fn keys_of(sequence: u32, head: u32) -> u32 {
  return step.kv_first + sequence * step.kv_sequence + head * 2u * step.kv_capacity * PAIRS;
}

// Keys and values as float16, in pairs.
alias Pair = u32;

fn cached(at: u32) -> Pair {
  return kv[at / 4u][at % 4u];
}

fn values_of(pair: Pair) -> vec2f {
  return unpack2x16float(pair);
}

// A product that is rounded before it is added to anything, where drivers would take a fused multiply-add: place.trial is 0
// outside of trials, which they cannot know.
fn rounded(product: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(product) ^ place.trial);
}

// a / b, as near as a fused multiply-add brings it: WGSL allows a division to be off by two and a half units, and drivers take
// what corrects that for nothing where they know b.
fn divided(a: f32, b: f32) -> f32 {
  let divisor = rounded(b);
  let quotient = rounded(a / divisor);
  return fma(fma(-quotient, divisor, a), 1.0 / divisor, quotient);
}

// e^x as the CPU's kernels compute it
fn exp_as_cpu(value: f32) -> f32 {
  let x = clamp(value, -87.3, 88.0);
  let n = round(x * 1.44269504);
  var r = fma(n, -0.693359375, x);
  r = fma(n, 2.12194440e-4, r);
  var e = 1.0 / 5040.0;
  e = fma(e, r, 1.0 / 720.0);
  e = fma(e, r, 1.0 / 120.0);
  e = fma(e, r, 1.0 / 24.0);
  e = fma(e, r, 1.0 / 6.0);
  e = fma(e, r, 0.5);
  e = fma(e, r, 1.0);
  e = fma(e, r, 1.0);
  return ldexp(e, i32(n));
}

var<workgroup> lanes: array<f32, 128>;

// The sum of sixteen lanes from `at` on, folded as the CPU folds them.
fn fold(at: u32) -> f32 {
  let low = vec4f(lanes[at], lanes[at + 1u], lanes[at + 2u], lanes[at + 3u]) +
    vec4f(lanes[at + 8u], lanes[at + 9u], lanes[at + 10u], lanes[at + 11u]);
  let high = vec4f(lanes[at + 4u], lanes[at + 5u], lanes[at + 6u], lanes[at + 7u]) +
    vec4f(lanes[at + 12u], lanes[at + 13u], lanes[at + 14u], lanes[at + 15u]);
  let four = low + high;
  let two = four.xy + four.zw;
  return two.x + two.y;
}

// Of each dimension, those of four tokens at a time.
var<workgroup> query: array<vec4f, DIM * FOURS>;

fn add_product(a: vec4f, b: f32, c: vec4f) -> vec4f {
  return vec4f(fma(a.x, b, c.x), fma(a.y, b, c.y), fma(a.z, b, c.z), fma(a.w, b, c.w));
}

// What some positions, 64 from each to the next, score with four tokens: a query that is read serves all of them.
alias Scores = array<vec4f, POSITIONS>;

fn scores_of(keys: u32, first: u32, last: u32, four: u32) -> Scores {
  var scores: Scores;
  for (var i = 0u; i < PAIRS / 4u; i++) {
    var some: array<vec4u, POSITIONS>;
    for (var p = 0u; p < POSITIONS; p++) { some[p] = kv[(keys + min(first + 64u * p, last) * PAIRS) / 4u + i]; }
    let at = 8u * i * FOURS + four;
    for (var k = 0u; k < 4u; k++) {
      let low = query[at + 2u * k * FOURS];
      let high = query[at + (2u * k + 1u) * FOURS];
      for (var p = 0u; p < POSITIONS; p++) {
        let pair = unpack2x16float(some[p][k]);
        scores[p] = add_product(high, pair.y, add_product(low, pair.x, scores[p]));
      }
    }
  }
  return scores;
}

// Scores, then weights, of positions and tokens; weights beyond the end are zero.
var<workgroup> weights: array<f32, 272u * QUERIES>;
// Of each token: what was summed before is to be scaled with, and the sum of its weights.
var<workgroup> factors: array<f32, QUERIES>;
var<workgroup> totals: array<f32, QUERIES>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_token = group.y * QUERIES;
  let token = step.token[first_token];
  let position = u32(token.position);
  let queries = min(QUERIES, step.tokens - first_token);
  let end = position + queries;
  let keys = keys_of(u32(token.sequence), group.x / SHARING);
  let values = keys + step.kv_capacity * PAIRS;
  for (var i = thread; i < DIM * FOURS; i += 128u) {
    let at = (first_token + i / DIM * 4u) * STRIDE + group.x * DIM + i % DIM;
    query[i % DIM * FOURS + i / DIM] = vec4f(qkv[at], qkv[at + STRIDE], qkv[at + 2u * STRIDE], qkv[at + 3u * STRIDE]);
  }
  workgroupBarrier();

  // The first position that each token attends to, and the first of all.
  let four = thread / 64u;
  let lengths = vec4u(position + 4u * four) + vec4u(1u, 2u, 3u, 4u);
  const begins = vec4u();
  const begin = 0u;
  let whole = end <= ROOM;
  let each = select(BLOCK, ROOM, whole);
  let own = thread / 16u; // the token whose weights this thread finds
  var most = LOWEST;
  var total = 0.0;
  var first_sums: array<vec4f, PER>; // of the first values of pairs, and of the second
  var second_sums: array<vec4f, PER>;
  for (var first = begin; first < end; first += each) {
    let count = min(each, end - first);
    for (var i = thread % 64u; i < count; i += 64u * POSITIONS) {
      let scores = scores_of(keys + first * PAIRS, i, count - 1u, four);
      for (var p = 0u; p < POSITIONS; p++) {
        let at = i + 64u * p;
        let inside = (vec4u(first + at) >= begins) & (vec4u(first + at) < lengths);
        for (var k = 0u; k < 4u && at < count; k++) {
          weights[at * QUERIES + four * 4u + k] = select(LOWEST, scores[p][k] * 0.25, inside[k]);
        }
      }
    }
    workgroupBarrier();

    var top = most;
    for (var i = thread % 16u; i < count; i += 16u) { top = max(top, weights[i * QUERIES + own]); }
    lanes[thread] = top;
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) { top = max(top, lanes[own * 16u + i]); }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = thread % 16u; i < (count + 15u) / 16u * 16u; i += 16u) {
      let at = i * QUERIES + own;
      var weight = 0.0;
      if (i < count && weights[at] > LOWEST) { weight = exp_as_cpu(weights[at] - top); }
      weights[at] = weight;
      sum += weight;
    }
    lanes[thread] = sum;
    workgroupBarrier();
    let factor = select(0.0, exp_as_cpu(most - top), most > LOWEST);
    total = total * factor + fold(own * 16u);
    most = top;
    factors[own] = factor;
    totals[own] = total;
    if (whole) {
      let scale = divided(1.0, total);
      for (var i = thread % 16u; i < count; i += 16u) { weights[i * QUERIES + own] *= scale; }
    }
    workgroupBarrier();

    let by = vec4f(factors[four * 4u], factors[four * 4u + 1u], factors[four * 4u + 2u], factors[four * 4u + 3u]);
    for (var p = 0u; p < PER; p++) {
      let pair = thread % 64u + p * 64u;
      if (pair >= PAIRS) { break; }
      var x = first_sums[p] * by;
      var y = second_sums[p] * by;
      for (var i = 0u; i < count; i += AHEAD) {
        var some: array<Pair, AHEAD>;
        for (var j = 0u; j < AHEAD; j++) { some[j] = cached(values + (first + min(i + j, count - 1u)) * PAIRS + pair); }
        for (var j = 0u; j < AHEAD; j++) {
          let at = (i + j) * QUERIES + four * 4u;
          let weight = vec4f(weights[at], weights[at + 1u], weights[at + 2u], weights[at + 3u]);
          let value = values_of(some[j]);
          x = add_product(weight, value.x, x);
          y = add_product(weight, value.y, y);
        }
      }
      first_sums[p] = x;
      second_sums[p] = y;
    }
    workgroupBarrier();
  }
  for (var p = 0u; p < PER; p++) {
    let pair = thread % 64u + p * 64u;
    if (pair >= PAIRS) { break; }
    for (var k = 0u; k < 4u; k++) {
      let query = four * 4u + k;
      if (query >= queries) { break; }
      var sum = vec2f(first_sums[p][k], second_sums[p][k]);
      if (!whole) { sum = vec2f(divided(sum.x, totals[query]), divided(sum.y, totals[query])); }
      let to = (first_token + query) * 128u + group.x * DIM + 2u * pair;
      out[to] = sum.x;
      out[to + 1u] = sum.y;
    }
  }
}
