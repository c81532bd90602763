// Causal attention of the 8 query heads over 2 of keys and values: a workgroup takes one head of one token; a thread scores
// positions, then sums pairs of dimensions. Contexts of up to 256 positions are taken whole, in the order of the CPU: all
// scores, then their weights, then the values. Longer ones are taken 64 positions at a time; where they are split, each part
// leaves its sums, and what they are to be scaled with, to be combined.
// Written from templates/wgsl/attention.wgsl.hbs.
enable subgroups;

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
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;

const HEADS = 8u;
const SHARING = 4u; // heads that share keys and values
const DIM = 16u;
const PAIRS = 8u;
const RUN = 64u; // positions, and threads
const WHOLE = 256u; // positions that are taken whole at most
const PER = 1u; // pairs that a thread sums
// Loads that are on their way at once: eight keys each, and pairs of values.
const KEYS = 2u;
const VALUES = 16u;
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 64>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = 0.0;
  for (var i = lane; i < 64u / width; i += width) { total += folded[i]; }
  workgroupBarrier();
  return subgroupAdd(total);
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = lane; i < 64u / width; i += width) { most = max(most, folded[i]); }
  workgroupBarrier();
  return subgroupMax(most);
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

var<workgroup> query: array<vec4f, DIM / 4u>;

// Adds the products of eight keys with the queries of two quads.
fn eight_of(before: f32, keys: vec4u, quad: u32) -> f32 {
  let low = query[quad];
  let high = query[quad + 1u];
  let k0 = unpack2x16float(keys.x);
  let k1 = unpack2x16float(keys.y);
  let k2 = unpack2x16float(keys.z);
  let k3 = unpack2x16float(keys.w);
  var sum = fma(low.y, k0.y, fma(low.x, k0.x, before));
  sum = fma(low.w, k1.y, fma(low.z, k1.x, sum));
  sum = fma(high.y, k2.y, fma(high.x, k2.x, sum));
  return fma(high.w, k3.y, fma(high.z, k3.x, sum));
}

fn score_of(keys: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < PAIRS / 4u; i += KEYS) {
    var some: array<vec4u, KEYS>;
    for (var j = 0u; j < KEYS; j++) { some[j] = kv[keys / 4u + i + j]; }
    for (var j = 0u; j < KEYS; j++) { sum = eight_of(sum, some[j], 2u * (i + j)); }
  }
  return sum;
}

var<workgroup> weights: array<f32, WHOLE>;

var<workgroup> lanes: array<f32, 16>;

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

// The sum of that many weights, in the order of the CPU: sixteen lanes, folded.
fn total_weight(count: u32) -> f32 {
  if (thread < 16u) {
    var sum = weights[thread];
    for (var i = thread + 16u; i < count; i += 16u) { sum += weights[i]; }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  return fold(0u);
}

// Adds pairs of values, weighted, to what was mixed before: of the position at `at` and the next ones up to `last`.
fn mix(before: vec2f, at: u32, last: u32) -> vec2f {
  var sum = before;
  for (var i = 0u; i <= last; i += VALUES) {
    // Weights beyond the end are zero.
    var some: array<Pair, VALUES>;
    for (var j = 0u; j < VALUES; j++) { some[j] = cached(at + min(i + j, last) * PAIRS); }
    for (var j = 0u; j < VALUES; j++) {
      let weight = weights[i + j];
      let pair = values_of(some[j]);
      sum = vec2f(fma(weight, pair.x, sum.x), fma(weight, pair.y, sum.y));
    }
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  @builtin(subgroup_size) subgroup_width: u32,
) {
  thread = index;
  lane = subgroup_lane;
  width = subgroup_width;
  let token = step.token[group.y];
  let length = u32(token.position) + 1u;
  const begin = 0u;
  let keys = keys_of(u32(token.sequence), group.x / SHARING);
  let values = keys + step.kv_capacity * PAIRS;
  let source = group.y * 192u + group.x * DIM;
  for (var i = thread; i < DIM / 4u; i += RUN) {
    let at = source + 4u * i;
    query[i] = vec4f(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
  }
  workgroupBarrier();

  let to = group.y * 128u + group.x * DIM;
  if (step.splits == 1u && length <= WHOLE) {
    let count = (length + RUN - 1u) / RUN * RUN;
    var top = LOWEST;
    for (var position = thread; position < count; position += RUN) {
      var score = LOWEST;
      if (position >= begin && position < length) { score = score_of(keys + position * PAIRS) * 0.25; }
      weights[position] = score;
      top = max(top, score);
    }
    top = workgroup_max(top);
    for (var position = thread; position < count; position += RUN) {
      let inside = position >= begin && position < length;
      weights[position] = select(0.0, exp_as_cpu(weights[position] - top), inside);
    }
    workgroupBarrier();
    let scale = divided(1.0, total_weight(count));
    for (var position = thread; position < count; position += RUN) { weights[position] *= scale; }
    workgroupBarrier();
    for (var pair = thread; pair < PAIRS; pair += RUN) {
      let sum = mix(vec2f(), values + pair, length - 1u);
      out[to + 2u * pair] = sum.x;
      out[to + 2u * pair + 1u] = sum.y;
    }
    return;
  }

  // The runs of positions that are this part's.
  let first_run = begin / RUN;
  let runs = (length + RUN - 1u) / RUN - first_run;
  let each = (runs + step.splits - 1u) / step.splits;
  let run_begin = first_run + min(group.z * each, runs);
  let run_end = first_run + min((group.z + 1u) * each, runs);
  var most = LOWEST;
  var total = 0.0;
  var sums: array<vec2f, PER>;
  for (var run = run_begin; run < run_end; run++) {
    let position = run * RUN + thread;
    let inside = position >= begin && position < length;
    var score = LOWEST;
    if (inside) { score = score_of(keys + position * PAIRS) * 0.25; }
    let top = max(most, workgroup_max(score));
    weights[thread] = select(0.0, exp_as_cpu(score - top), inside);
    workgroupBarrier();
    let factor = select(0.0, exp_as_cpu(most - top), most > LOWEST);
    total = total * factor + total_weight(RUN);
    most = top;
    for (var p = 0u; p < PER; p++) {
      let pair = thread + p * RUN;
      if (pair >= PAIRS) { break; }
      sums[p] = mix(sums[p] * factor, values + run * RUN * PAIRS + pair, min(RUN, length - run * RUN) - 1u);
    }
    workgroupBarrier();
  }
  for (var p = 0u; p < PER; p++) {
    let pair = thread + p * RUN;
    if (pair >= PAIRS) { break; }
    if (step.splits == 1u) {
      out[to + 2u * pair] = divided(sums[p].x, total);
      out[to + 2u * pair + 1u] = divided(sums[p].y, total);
    } else {
      let at = ((group.y * HEADS + group.x) * step.splits + group.z) * (DIM + 2u);
      parts[at + 2u * pair] = sums[p].x;
      parts[at + 2u * pair + 1u] = sums[p].y;
      if (pair == 0u) {
        parts[at + DIM] = most;
        parts[at + DIM + 1u] = total;
      }
    }
  }
}
