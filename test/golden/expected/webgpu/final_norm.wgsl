// RMS norm of the tokens that want logits or their hidden state.
// Written from templates/wgsl/final_norm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> input: array<vec4f>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4f>; // rows that the head reads
@group(0) @binding(5) var<storage, read_write> states: array<vec4f>; // rows that are read back

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

const SIZE = 128u;
const QUADS = 32u; // of four columns
const GROUPS = 8u; // of four quads each, with those that pad the row to whole tiles of 128 columns
const PER = 1u;     // groups that a thread has

alias Values = array<vec4f, 4u * PER>;

// The quad that a thread's value i is. Four of its values are 32 columns apart: as int8, they are one vec4u of the row, which
// in a tile of 128 columns is the one of columns 32 j + 16 h + 4 c to 32 j + 16 h + 4 c + 3 in word j, at 2 c + h.
fn quad_of(i: u32) -> u32 {
  let n = thread + i / 4u * 256u;
  return n / 8u * 32u + i % 4u * 8u + n % 2u * 4u + n / 2u % 4u;
}

// A short row's squares are added up in the order of the CPU: sixteen lanes, folded.
var<workgroup> short_row: array<vec4f, 32>;

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

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 32u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  return fold(0u);
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 32u + quad];
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
  let token = step.token[group.y];
  if (token.logits_row < 0 && token.hidden_row < 0) { return; }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(group.y, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad >= QUADS) { continue; }
    let value = v[i] * factor * weights[quad];
    if (token.logits_row >= 0) { hidden[u32(token.logits_row) * 32u + quad] = value; }
    if (token.hidden_row >= 0) { states[u32(token.hidden_row) * 32u + quad] = value; }
  }
}
