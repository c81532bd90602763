// One token: query and key rotate, key and value go to the cache, and it attends to all before it
// and to itself. A workgroup takes one of 8 query heads over 2 of keys and values. Of 256 positions at a time, a
// thread scores one; their values are then added up in the order of the CPU: 8 groups of threads take turns, and each
// adds a few to what the one before it has left. Contexts of up to as many positions are taken whole. Longer ones are
// split: each part leaves its sums, and what they are to be scaled with, to be combined.
// Written from templates/wgsl/attention_one.wgsl.hbs.
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
@group(0) @binding(3) var<storage, read_write> kv: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> parts: array<f32>;
@group(0) @binding(6) var<storage, read> angles: array<vec2f>; // cosine and sine

const SHARING = 4u; // heads that share keys and values
const DIM = 16u;
const PAIRS = 8u;
const TURNING = 8u; // pairs that rotate
const RUN = 256u; // positions, and threads
const MIXERS = 8u; // groups of threads, one for each pair, that add up values
const AHEAD = 16u; // values that one of them adds in its turn
const KEYS = 2u; // loads that are on their way at once, eight keys each
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
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = 0.0;
  for (var i = lane; i < 256u / width; i += width) { total += folded[i]; }
  workgroupBarrier();
  return subgroupAdd(total);
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = lane; i < 256u / width; i += width) { most = max(most, folded[i]); }
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

// The bits of a float16, rounded to the nearest and of two equally near to the even one: pack2x16float may round otherwise.
fn half_of(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let size = bits & 0x7fffffffu;
  var half = (size - 0x38000000u + 0xfffu + ((size >> 13u) & 1u)) >> 13u;
  if (size < 0x38800000u) { half = u32(round(abs(value) * 16777216.0)); } // subnormal
  if (size >= 0x477ff000u) { half = 0x7c00u; }
  if (size > 0x7f800000u) { half = 0x7e00u; }
  return ((bits >> 16u) & 0x8000u) | half;
}

// The query, and behind it the key and the value.
var<workgroup> head: array<f32, 3u * DIM>;
// What goes to the cache.
var<workgroup> added: array<Pair, DIM>;

var<workgroup> lanes: array<f32, 32>;

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

// Two values of a head, rotated.
fn turned(a: f32, b: f32, angle: vec2f) -> vec2f {
  return vec2f(rounded(a * angle.x) - rounded(b * angle.y), rounded(b * angle.x) + rounded(a * angle.y));
}

fn pair_of(a: f32, b: f32) -> Pair {
  return half_of(a) | (half_of(b) << 16u);
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

var<workgroup> weights: array<f32, RUN>;

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

// Sums of pairs of values, as far as they have been added up.
var<workgroup> mixed: array<vec2f, PAIRS>;

alias Few = array<Pair, AHEAD>;

// Values from position `first` on; beyond the last one, that one.
fn few_of(values: u32, first: u32, last: u32) -> Few {
  var few: Few;
  for (var i = 0u; i < AHEAD; i++) { few[i] = cached(values + min(first + i, last) * PAIRS); }
  return few;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
  @builtin(subgroup_size) subgroup_width: u32,
) {
  thread = index;
  lane = subgroup_lane;
  width = subgroup_width;
  let token = step.token[0];
  let position = u32(token.position);
  let kv_head = group.x / SHARING;
  for (var i = thread; i < 3u * DIM; i += RUN) {
    var at = group.x * DIM + i;
    if (i >= DIM) { at = 128u + kv_head * DIM + i - DIM; }
    if (i >= 2u * DIM) { at = 160u + kv_head * DIM + i - 2u * DIM; }
    head[i] = qkv[at];
  }
  workgroupBarrier();
  let turn = position * TURNING;
  for (var i = thread; i < 2u * TURNING; i += RUN) {
    let pair = i % TURNING;
    let first = i / TURNING * DIM;
    let one = first + pair;
    let other = first + pair + TURNING;
    let both = turned(head[one], head[other], angles[turn + pair]);
    head[one] = both.x;
    head[other] = both.y;
  }
  workgroupBarrier();

  // All that share this key and value write the same, and read what they have written.
  let keys = keys_of(u32(token.sequence), kv_head);
  let values = keys + step.kv_capacity * PAIRS;
  for (var i = thread; i < DIM; i += RUN) { added[i] = pair_of(head[DIM + 2u * i], head[DIM + 2u * i + 1u]); }
  for (var i = thread; i < DIM / 4u; i += RUN) {
    query[i] = vec4f(head[4u * i], head[4u * i + 1u], head[4u * i + 2u], head[4u * i + 3u]);
  }
  workgroupBarrier();
  for (var i = thread; i < DIM / 4u; i += RUN) {
    let to = select(values - PAIRS, keys, i < PAIRS / 4u) + position * PAIRS;
    kv[to / 4u + i] = vec4u(added[4u * i], added[4u * i + 1u], added[4u * i + 2u], added[4u * i + 3u]);
  }
  storageBarrier();

  // The runs of positions that are this part's.
  let length = position + 1u;
  const begin = 0u;
  let first_run = begin / RUN;
  let runs = (length + RUN - 1u) / RUN - first_run;
  let each_part = (runs + step.splits - 1u) / step.splits;
  let run_begin = first_run + min(group.z * each_part, runs);
  let run_end = first_run + min((group.z + 1u) * each_part, runs);
  let mixer = thread / PAIRS;
  let pair = thread % PAIRS;
  if (thread < PAIRS) { mixed[thread] = vec2f(); }
  var most = LOWEST;
  var total = 0.0;
  for (var run = run_begin; run < run_end; run++) {
    let first = run * RUN;
    let count = min(RUN, length - first);
    let own_values = values + first * PAIRS + pair;
    // The values do not wait for the scores.
    var few = few_of(own_values, mixer * AHEAD, count - 1u);
    let scored = first + thread;
    let inside = scored >= begin && scored < length;
    var score = LOWEST;
    if (inside) { score = score_of(keys + scored * PAIRS) * 0.25; }
    let top = max(most, workgroup_max(score));
    weights[thread] = select(0.0, exp_as_cpu(score - top), inside);
    workgroupBarrier();
    let factor = select(0.0, exp_as_cpu(most - top), most > LOWEST);
    total = total * factor + total_weight(count);
    most = top;
    // A context that is taken whole has its weights scaled at once, as on the CPU.
    if (step.splits == 1u) { weights[thread] *= divided(1.0, total); }
    if (thread < PAIRS) { mixed[thread] *= factor; }
    workgroupBarrier();
    for (var done = 0u; done < count; done += MIXERS * AHEAD) {
      let next = few_of(own_values, done + (MIXERS + mixer) * AHEAD, count - 1u);
      let turns = min(MIXERS, (count - done + AHEAD - 1u) / AHEAD);
      for (var turn = 0u; turn < turns; turn++) {
        if (turn == mixer) {
          // Beyond the end weights are zero.
          var sum = mixed[pair];
          for (var i = 0u; i < AHEAD; i++) {
            let weight = weights[done + mixer * AHEAD + i];
            let value = values_of(few[i]);
            sum = vec2f(fma(weight, value.x, sum.x), fma(weight, value.y, sum.y));
          }
          mixed[pair] = sum;
        }
        workgroupBarrier();
      }
      few = next;
    }
  }
  if (thread >= PAIRS) { return; }
  let sum = mixed[thread];
  if (step.splits == 1u) {
    out[group.x * DIM + 2u * thread] = sum.x;
    out[group.x * DIM + 2u * thread + 1u] = sum.y;
  } else {
    let at = (group.x * step.splits + group.z) * (DIM + 2u);
    parts[at + 2u * thread] = sum.x;
    parts[at + 2u * thread + 1u] = sum.y;
    if (thread == 0u) {
      parts[at + DIM] = most;
      parts[at + DIM + 1u] = total;
    }
  }
}
