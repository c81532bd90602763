// ===== embed
// The embedding of each token, 96 rows of 72, times 8.485280990600586.
// Written from templates/wgsl/embed.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// Value i of a row of 72 float16.
fn table_value(row: u32, i: u32) -> f32 {
  let at = row * 72u + i;
  return unpack2x16float(table[at / 2u])[at % 2u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = u32(step.token[at.y].id) - place.first;
  if (row >= place.count || at.x >= 80u) { return; }
  var value = 0.0;
  if (at.x < 72u) { value = table_value(row, at.x) * 8.485280990600586; }
  out[at.y * 80u + at.x] = value;
}

// ===== attn_norm_of_x
// attn_norm of x: a workgroup a token.
// Written from templates/wgsl/norm.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;

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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad >= QUADS) { continue; }
    let at = token * 20u + quad;
    out[at] = v[i] * factor * weights[quad];
  }
}

// ===== query_gemv
// query: 96 rows of 72, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + row] = f32(sum) * scale;
    }
  }
}

// ===== key_gemv
// key: 48 rows of 72, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 48u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 96u + row] = f32(sum) * scale;
    }
  }
}

// ===== value_gemv
// value: 48 rows of 72, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 48u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 144u + row] = f32(sum) * scale;
    }
  }
}

// ===== rope
// Norms of the heads; queries and keys rotate, keys and values go to the cache: a workgroup a head of a token.
// Written from templates/wgsl/rope.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(3) var<storage, read_write> kv: array<u32>;
@group(0) @binding(4) var<storage, read> angles: array<vec2f>; // cosine and sine; those of local layers behind the others
@group(0) @binding(5) var<storage, read> query_norm: array<f32>;
@group(0) @binding(6) var<storage, read> key_norm: array<f32>;

const HEADS = 4u;
const KV_HEADS = 2u;
const DIM = 24u;
const PAIRS = 12u;
const TURNING = 12u; // pairs that rotate

// Where a sequence's keys of a KV head begin, in pairs; its values lie behind them: [KV head][keys, values][position][pair].
fn keys_of(sequence: u32, head: u32) -> u32 {
  return step.kv_first + sequence * step.kv_sequence + head * 2u * step.kv_capacity * PAIRS;
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

var<workgroup> head: array<f32, DIM>;
var<workgroup> lanes: array<f32, 16>;

// What RMS norm multiplies a head with: its squares are added up in the order of the CPU, sixteen lanes, folded.
fn norm_factor(thread: u32) -> f32 {
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = thread; i < DIM; i += 16u) { sum = fma(head[i], head[i], sum); }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  let mean = divided(sums[0], f32(DIM)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = step.token[group.y];
  let position = u32(token.position);
  let is_query = group.x < HEADS;
  let is_key = !is_query && group.x < HEADS + KV_HEADS;
  let number = select((group.x - HEADS) % KV_HEADS, group.x, is_query);
  let source = group.y * 192u + select(select(144u, 96u, is_key), 0u, is_query) + number * DIM;
  for (var i = thread; i < DIM; i += 64u) { head[i] = qkv[source + i]; }
  workgroupBarrier();
  let factor = norm_factor(thread);
  for (var i = thread; i < DIM; i += 64u) {
    if (is_query) { head[i] = head[i] * factor * query_norm[i]; }
    if (is_key) { head[i] = head[i] * factor * key_norm[i]; }
  }
  workgroupBarrier();
  if (is_query || is_key) {
    let turn = select(0u, arrayLength(&angles) / 2u, place.window > 0u) + position * TURNING;
    for (var i = thread; i < TURNING; i += 64u) {
      let one = i;
      let other = i + TURNING;
      let a = head[one];
      let b = head[other];
      let angle = angles[turn + i];
      head[one] = rounded(a * angle.x) - rounded(b * angle.y);
      head[other] = rounded(b * angle.x) + rounded(a * angle.y);
    }
  }
  workgroupBarrier();
  if (is_query) {
    for (var i = thread; i < DIM; i += 64u) { qkv[source + i] = head[i]; }
    return;
  }
  let to = keys_of(u32(token.sequence), number) + (select(step.kv_capacity, 0u, is_key) + position) * PAIRS;
  for (var i = thread; i < PAIRS; i += 64u) {
    let pair = vec2f(head[2u * i], head[2u * i + 1u]);
    kv[to + i] = half_of(pair.x) | (half_of(pair.y) << 16u);
  }
}

// ===== attention
// Causal attention of the 4 query heads over 2 of keys and values: a workgroup takes one head of one token; a thread scores
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

const HEADS = 4u;
const SHARING = 2u; // heads that share keys and values
const DIM = 24u;
const PAIRS = 12u;
const RUN = 64u; // positions, and threads
const WHOLE = 256u; // positions that are taken whole at most
const PER = 1u; // pairs that a thread sums
const LOWEST = -3e38;

// Where a sequence's keys of a KV head begin, in pairs; its values lie behind them: [KV head][keys, values][position][pair].
fn keys_of(sequence: u32, head: u32) -> u32 {
  return step.kv_first + sequence * step.kv_sequence + head * 2u * step.kv_capacity * PAIRS;
}

// Keys and values as float16, in pairs.
fn cached(at: u32) -> vec2f {
  return unpack2x16float(kv[at / 4u][at % 4u]);
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
  var total = folded[0];
  for (var i = 1u; i < 64u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 64u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
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

fn score_of(keys: u32) -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < PAIRS / 4u; i++) {
    let eight = kv[keys / 4u + i];
    let k = array(unpack2x16float(eight.x), unpack2x16float(eight.y), unpack2x16float(eight.z), unpack2x16float(eight.w));
    let low = query[2u * i];
    let high = query[2u * i + 1u];
    sum = fma(low.y, k[0].y, fma(low.x, k[0].x, sum));
    sum = fma(low.w, k[1].y, fma(low.z, k[1].x, sum));
    sum = fma(high.y, k[2].y, fma(high.x, k[2].x, sum));
    sum = fma(high.w, k[3].y, fma(high.z, k[3].x, sum));
  }
  return sum;
}

var<workgroup> weights: array<f32, WHOLE>;
var<workgroup> lanes: array<f32, 16>;

// The sum of that many weights, in the order of the CPU: sixteen lanes, folded.
fn total_weight(count: u32) -> f32 {
  if (thread < 16u) {
    var sum = weights[thread];
    for (var i = thread + 16u; i < count; i += 16u) { sum += weights[i]; }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// Adds pairs of values, weighted, to what was mixed before: of the position at `at` and the next ones up to `last`.
fn mix(before: vec2f, at: u32, last: u32) -> vec2f {
  var sum = before;
  for (var i = 0u; i <= last; i += 8u) {
    // Eight loads on their way at once; weights beyond the end are zero.
    var eight: array<vec2f, 8>;
    for (var j = 0u; j < 8u; j++) { eight[j] = cached(at + min(i + j, last) * PAIRS); }
    for (var j = 0u; j < 8u; j++) {
      let weight = weights[i + j];
      sum = vec2f(fma(weight, eight[j].x, sum.x), fma(weight, eight[j].y, sum.y));
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
  let begin = select(0u, length - place.window, place.window > 0u && length > place.window);
  let keys = keys_of(u32(token.sequence), group.x / SHARING);
  let values = keys + step.kv_capacity * PAIRS;
  let source = group.y * 192u + group.x * DIM;
  for (var i = thread; i < DIM / 4u; i += RUN) {
    let at = source + 4u * i;
    query[i] = vec4f(qkv[at], qkv[at + 1u], qkv[at + 2u], qkv[at + 3u]);
  }
  workgroupBarrier();

  let to = group.y * 96u + group.x * DIM;
  if (step.splits == 1u && length <= WHOLE) {
    let count = (length + RUN - 1u) / RUN * RUN;
    var top = LOWEST;
    for (var position = thread; position < count; position += RUN) {
      var score = LOWEST;
      if (position >= begin && position < length) { score = score_of(keys + position * PAIRS) * 0.20412415266036987; }
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
    if (inside) { score = score_of(keys + position * PAIRS) * 0.20412415266036987; }
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

// ===== combine
// Attention over a context that was split: a workgroup puts together the parts of one head of one token.
// Written from templates/wgsl/combine.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> parts: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const DIM = 24u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * 4u + group.x) * step.splits * (DIM + 2u);
  var most = parts[first + DIM];
  for (var s = 1u; s < step.splits; s++) { most = max(most, parts[first + s * (DIM + 2u) + DIM]); }
  for (var i = thread; i < DIM; i += 64u) {
    var sum = 0.0;
    var total = 0.0;
    for (var s = 0u; s < step.splits; s++) {
      let part = first + s * (DIM + 2u);
      let factor = exp(parts[part + DIM] - most);
      sum = fma(parts[part + i], factor, sum);
      total = fma(parts[part + DIM + 1u], factor, total);
    }
    out[group.y * 96u + group.x * DIM + i] = sum / total;
  }
}

// ===== attn_output_gemv
// attn_output: 80 rows of 96, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 96u;
const QUADS = 24u; // of four columns
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
var<workgroup> short_row: array<vec4f, 24>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 24u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 24u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 80u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 80u + row] = f32(sum) * scale;
    }
  }
}

// ===== post_attention_norm_of_projected
// post_attention_norm of projected, added to x: a workgroup a token.
// Written from templates/wgsl/norm.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;

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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad >= QUADS) { continue; }
    let at = token * 20u + quad;
    let value = v[i] * factor * weights[quad];
    out[at] += vec4f(rounded(value.x), rounded(value.y), rounded(value.z), rounded(value.w));
  }
}

// ===== ffn_norm_of_x
// ffn_norm of x: a workgroup a token.
// Written from templates/wgsl/norm.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;

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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad >= QUADS) { continue; }
    let at = token * 20u + quad;
    out[at] = v[i] * factor * weights[quad];
  }
}

// ===== gate_gemv
// gate: 96 rows of 72, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + row] = f32(sum) * scale;
    }
  }
}

// ===== up_gemv
// up: 96 rows of 72, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 96u + row] = f32(sum) * scale;
    }
  }
}

// ===== down_gemv
// down: 80 rows of 90, one token. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<storage, read> input: array<vec4f>;
@group(0) @binding(7) var<storage, read> weights: array<vec4f>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 90u;
const QUADS = 23u; // of four columns
const GROUPS = 8u; // of four quads each, with those that pad the row to whole tiles of 128 columns
const PER = 1u;     // groups that a thread has

alias Values = array<vec4f, 4u * PER>;

// The quad that a thread's value i is. Four of its values are 32 columns apart: as int8, they are one vec4u of the row, which
// in a tile of 128 columns is the one of columns 32 j + 16 h + 4 c to 32 j + 16 h + 4 c + 3 in word j, at 2 c + h.
fn quad_of(i: u32) -> u32 {
  let n = thread + i / 4u * 256u;
  return n / 8u * 32u + i % 4u * 8u + n % 2u * 4u + n / 2u % 4u;
}

// The last quad, its columns beyond the end zero.
fn within(v: vec4f, quad: u32) -> vec4f {
  return select(vec4f(), v, vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u) < vec4u(SIZE));
}

// A short row's squares are added up in the order of the CPU: sixteen lanes, folded.
var<workgroup> short_row: array<vec4f, 24>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 24u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
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

// GELU of gate by tanh, times up: (1 + tanh u) / 2 = 1 / (1 + e^(-2 u))
fn gated(gate: f32, up: f32) -> f32 {
  let inner = fma(gate * gate * gate, 0.044715, gate);
  return divided(gate, 1.0 + exp_as_cpu(inner * -1.59576912)) * up;
}

// activation(gate) * up; gate and up lie one behind the other.
fn value_at(token: u32, quad: u32) -> vec4f {
  let at = token * 48u + quad;
  let gate = input[at];
  let up = input[at + 24u];
  let v = vec4f(gated(gate.x, up.x), gated(gate.y, up.y), gated(gate.z, up.z), gated(gate.w, up.w));
  return within(v, quad);
}

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

// Puts the one token's activations into q, as int8.
fn quantise() -> Quant {
  if (place.trial == 1u) {
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
    return quant_given[0];
  }
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(0u, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  return Quant(divided(most, 127.0), total);
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 16>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  // The weights do not wait for the activations.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  let quant = quantise();
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low = 0;
  var high = 0;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (tile < TILES) {
      let left = q[tile * 8u + c * 2u];
      let right = q[tile * 8u + c * 2u + 1u];
      low += dot16(w[i].x, left) + dot16(w[i].z, right);
      high += dot16(w[i].y, left) + dot16(w[i].w, right);
    }
  }
  atomicAdd(&sums[row], low);
  atomicAdd(&sums[row + 8u], high);
  workgroupBarrier();

  for (var i = thread; i < 16u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant;
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 80u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 80u + row] = f32(sum) * scale;
    }
  }
}

// ===== post_ffw_norm_of_projected
// post_ffw_norm of projected, added to x: a workgroup a token.
// Written from templates/wgsl/norm.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;

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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad >= QUADS) { continue; }
    let at = token * 20u + quad;
    let value = v[i] * factor * weights[quad];
    out[at] += vec4f(rounded(value.x), rounded(value.y), rounded(value.z), rounded(value.w));
  }
}

// ===== final_norm
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
    if (token.logits_row >= 0) { hidden[u32(token.logits_row) * 20u + quad] = value; }
    if (token.hidden_row >= 0) { states[u32(token.hidden_row) * 20u + quad] = value; }
  }
}

// ===== head
// The head, 96 rows of 72: 32 lanes take a row, of up to 1 hidden state.
// Written from templates/wgsl/head_rows.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read> hidden: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

// Value i of a row of 72 float16.
fn table_value(row: u32, i: u32) -> f32 {
  let at = row * 72u + i;
  return unpack2x16float(table[at / 2u])[at % 2u];
}

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * 8u + thread / 32u;
  let first = group.y * 1u;
  var sums: array<f32, 1>;
  if (row < place.count) {
    for (var i = thread % 32u; i < 72u; i += 32u) {
      let value = table_value(row, i);
      for (var t = 0u; t < 1u; t++) { sums[t] = fma(value, hidden[(first + t) * 80u + i], sums[t]); }
    }
  }
  for (var t = 0u; t < 1u; t++) { partial[t * 256u + thread] = sums[t]; }
  workgroupBarrier();
  let mine = group.x * 8u + thread % 8u;
  let token = thread / 8u;
  if (token >= 1u || first + token >= step.rows || mine >= place.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < 32u; i++) { sum += partial[token * 256u + thread % 8u * 32u + i]; }
  logits[(first + token) * 96u + place.first + mine] = sum;
}

// ===== head4
// The head, 96 rows of 72: 32 lanes take a row, of up to 4 hidden states.
// Written from templates/wgsl/head_rows.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read> hidden: array<f32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

// Value i of a row of 72 float16.
fn table_value(row: u32, i: u32) -> f32 {
  let at = row * 72u + i;
  return unpack2x16float(table[at / 2u])[at % 2u];
}

var<workgroup> partial: array<f32, 1024>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * 8u + thread / 32u;
  let first = group.y * 4u;
  var sums: array<f32, 4>;
  if (row < place.count) {
    for (var i = thread % 32u; i < 72u; i += 32u) {
      let value = table_value(row, i);
      for (var t = 0u; t < 4u; t++) { sums[t] = fma(value, hidden[(first + t) * 80u + i], sums[t]); }
    }
  }
  for (var t = 0u; t < 4u; t++) { partial[t * 256u + thread] = sums[t]; }
  workgroupBarrier();
  let mine = group.x * 8u + thread % 8u;
  let token = thread / 8u;
  if (token >= 4u || first + token >= step.rows || mine >= place.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < 32u; i++) { sum += partial[token * 256u + thread % 8u * 32u + i]; }
  logits[(first + token) * 96u + place.first + mine] = sum;
}

// ===== query_q_of_attn_q_norm_in
// attn_q_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== key_q_of_attn_k_norm_in
// attn_k_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== value_q_of_attn_v_norm_in
// attn_v_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== query_gemv4
// query: 96 rows of 72, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + row] = f32(sum) * scale;
    }
  }
}

// ===== key_gemv4
// key: 48 rows of 72, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 48u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 96u + row] = f32(sum) * scale;
    }
  }
}

// ===== value_gemv4
// value: 48 rows of 72, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 48u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 144u + row] = f32(sum) * scale;
    }
  }
}

// ===== q_of_attn_output_norm_in
// attn_output_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 96u;
const QUADS = 24u; // of four columns
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
var<workgroup> short_row: array<vec4f, 24>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 24u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 24u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== attn_output_gemv4
// attn_output: 80 rows of 96, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 80u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 80u + row] = f32(sum) * scale;
    }
  }
}

// ===== gate_q_of_ffn_gate_norm_in
// ffn_gate_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== up_q_of_ffn_up_norm_in
// ffn_up_norm_in, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 72u;
const QUADS = 18u; // of four columns
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
var<workgroup> short_row: array<vec4f, 20>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 20u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
}

fn value_at(token: u32, quad: u32) -> vec4f {
  return input[token * 20u + quad];
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== gate_gemv4
// gate: 96 rows of 72, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + row] = f32(sum) * scale;
    }
  }
}

// ===== up_gemv4
// up: 96 rows of 72, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 96u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 192u + 96u + row] = f32(sum) * scale;
    }
  }
}

// ===== q_of_ffn_down_norm_in
// ffn_down_norm_in of gelu(gate) * up, as int8: a workgroup a token.
// Written from templates/wgsl/norm_quantise.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> q: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> quant: array<Quant>;
@group(0) @binding(4) var<storage, read> weights: array<vec4f>;

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

var<private> thread: u32;
var<private> lane: u32; // of the subgroup
var<private> width: u32;

// One value for each subgroup.
var<workgroup> folded: array<f32, 256>;

fn workgroup_sum(value: f32) -> f32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

const SIZE = 90u;
const QUADS = 23u; // of four columns
const GROUPS = 8u; // of four quads each, with those that pad the row to whole tiles of 128 columns
const PER = 1u;     // groups that a thread has

alias Values = array<vec4f, 4u * PER>;

// The quad that a thread's value i is. Four of its values are 32 columns apart: as int8, they are one vec4u of the row, which
// in a tile of 128 columns is the one of columns 32 j + 16 h + 4 c to 32 j + 16 h + 4 c + 3 in word j, at 2 c + h.
fn quad_of(i: u32) -> u32 {
  let n = thread + i / 4u * 256u;
  return n / 8u * 32u + i % 4u * 8u + n % 2u * 4u + n / 2u % 4u;
}

// The last quad, its columns beyond the end zero.
fn within(v: vec4f, quad: u32) -> vec4f {
  return select(vec4f(), v, vec4u(4u * quad) + vec4u(0u, 1u, 2u, 3u) < vec4u(SIZE));
}

// A short row's squares are added up in the order of the CPU: sixteen lanes, folded.
var<workgroup> short_row: array<vec4f, 24>;
var<workgroup> lanes: array<f32, 16>;

fn sum_of_squares(v: Values) -> f32 {
  var values = v;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { short_row[quad] = values[i]; }
  }
  workgroupBarrier();
  if (thread < 16u) {
    var sum = 0.0;
    for (var i = 0u; i < 24u; i += 4u) {
      let value = short_row[i + thread / 4u][thread % 4u];
      sum = fma(value, value, sum);
    }
    lanes[thread] = sum;
  }
  workgroupBarrier();
  var sums: array<f32, 16>;
  for (var i = 0u; i < 16u; i++) { sums[i] = lanes[i]; }
  for (var half = 8u; half > 0u; half /= 2u) {
    for (var i = 0u; i < half; i++) { sums[i] += sums[i + half]; }
  }
  return sums[0];
}

// What RMS norm multiplies the values with, beside its weights.
fn norm_factor(v: Values) -> f32 {
  let mean = divided(sum_of_squares(v), f32(SIZE)) + 0.000009999999747378752;
  let root = sqrt(mean);
  return divided(1.0, fma(fma(-root, root, mean), 0.5 / root, root));
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

// GELU of gate by tanh, times up: (1 + tanh u) / 2 = 1 / (1 + e^(-2 u))
fn gated(gate: f32, up: f32) -> f32 {
  let inner = fma(gate * gate * gate, 0.044715, gate);
  return divided(gate, 1.0 + exp_as_cpu(inner * -1.59576912)) * up;
}

// activation(gate) * up; gate and up lie one behind the other.
fn value_at(token: u32, quad: u32) -> vec4f {
  let at = token * 48u + quad;
  let gate = input[at];
  let up = input[at + 24u];
  let v = vec4f(gated(gate.x, up.x), gated(gate.y, up.y), gated(gate.z, up.z), gated(gate.w, up.w));
  return within(v, quad);
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
  let token = group.y;
  var v: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = value_at(token, quad); }
  }
  let factor = norm_factor(v);
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) { v[i] = v[i] * factor * weights[quad]; }
  }
  var most = 1e-5;
  for (var i = 0u; i < 4u * PER; i++) {
    let size = abs(v[i]);
    most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
  }
  most = workgroup_max(most);
  let scale = divided(127.0, most);
  var sum = vec4i();
  for (var i = 0u; i < PER; i++) {
    let n = thread + i * 256u;
    if (n >= GROUPS) { break; }
    var words: vec4u;
    for (var j = 0u; j < 4u; j++) {
      let values = quantised(v[4u * i + j] * scale);
      sum += values;
      words[j] = packed(values);
    }
    q[token * GROUPS + n] = words;
  }
  // Sums of int8 are exact in float32, in any order.
  let total = i32(workgroup_sum(f32(sum.x + sum.y + sum.z + sum.w)));
  if (thread == 0u) { quant[token] = Quant(divided(most, 127.0), total); }
}

// ===== down_gemv4
// down: 80 rows of 90, up to 4 tokens. y = W q, q being int8.
//
// Two bits a weight, code = weight + 1, in tiles of 16 rows x 128 columns, 512 bytes; a row block's tiles follow each other
// along K, and the row blocks along M. Lane 4 g + c of 32 owns a vec4u of a tile: byte b of word i holds row g + 8 (i & 1),
// column 32 j + 16 (i >> 1) + 4 c + b at bits 2 j and 2 j + 1. Sums of codes times activations, less the sum of the
// activations, are the ternary sums: exact in int32.
//
// A workgroup has 1 row block; 8 times 32 lanes share the columns of each.
// Written from templates/wgsl/gemv.wgsl.hbs.
enable subgroups;

// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> codes: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(3) var<storage, read> q_given: array<vec4u>;
@group(0) @binding(4) var<storage, read> quant_given: array<Quant>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns
const SPLIT = 8u;
const STEPS = 1u; // tiles that a lane has

// What quantising a token's activations leaves behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// Four int8 in a word, rounded to the nearest and of two equally near to the even one.
fn quantised(v: vec4f) -> vec4i {
  return vec4i(clamp(round(v), vec4f(-128.0), vec4f(127.0)));
}

fn packed(v: vec4i) -> u32 {
  let bytes = bitcast<vec4u>(v) & vec4u(255u);
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
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

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
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
  var total = folded[0];
  for (var i = 1u; i < 256u / width; i++) { total += folded[i]; }
  workgroupBarrier();
  return total;
}

fn workgroup_max(value: f32) -> f32 {
  let part = subgroupMax(value);
  if (lane == 0u) { folded[thread / width] = part; }
  workgroupBarrier();
  var most = folded[0];
  for (var i = 1u; i < 256u / width; i++) { most = max(most, folded[i]); }
  workgroupBarrier();
  return most;
}

// Sums of the workgroup's rows, token by token.
var<workgroup> sums: array<atomic<i32>, 64>;

// Four codes times four activations, four times over.
fn dot16(word: u32, four: vec4u) -> i32 {
  const CODES = 0x03030303u;
  return dot4(word & CODES, four.x) + dot4((word >> 2u) & CODES, four.y) + dot4((word >> 4u) & CODES, four.z) +
    dot4((word >> 6u) & CODES, four.w);
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
  let lane32 = thread % 32u;
  let slot = thread / 32u / SPLIT;
  let part = thread / 32u % SPLIT;
  let block = group.x * 1u + slot;
  let inside = block < place.count;
  let c = lane32 % 4u;
  let row = slot * 16u + lane32 / 4u;
  var low: array<i32, 4>;
  var high: array<i32, 4>;
  if (inside) {
    for (var tile = part; tile < TILES; tile += SPLIT) {
      let w = codes[(block * TILES + tile) * 32u + lane32];
      for (var t = 0u; t < 4u; t++) {
        let at = (t * TILES + tile) * 8u + c * 2u;
        let left = q_given[at];
        let right = q_given[at + 1u];
        low[t] += dot16(w.x, left) + dot16(w.z, right);
        high[t] += dot16(w.y, left) + dot16(w.w, right);
      }
    }
  }
  for (var t = 0u; t < 4u; t++) {
    atomicAdd(&sums[t * 16u + row], low[t]);
    atomicAdd(&sums[t * 16u + row + 8u], high[t]);
  }
  workgroupBarrier();

  for (var i = thread; i < 64u; i += 256u) {
    let t = i / 16u;
    let at = group.x * 1u + i % 16u / 16u;
    if (at >= place.count) { continue; }
    let given = quant_given[t];
    let sum = atomicLoad(&sums[i]) - given.sum;
    let block = place.first + at;
    let row = block * 16u + i % 16u;
    if (place.trial == 1u) {
      out[t * 80u + row] = f32(sum);
    } else {
      let scale = scales[block][i / 8u % 2u] * given.inverse_scale;
      out[t * 80u + row] = f32(sum) * scale;
    }
  }
}

// ===== query_gemm
// query: 96 rows of 72, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 96u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== key_gemm
// key: 48 rows of 72, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 48u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + 96u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== value_gemm
// value: 48 rows of 72, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 3u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 48u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + 144u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== attn_output_gemm
// attn_output: 80 rows of 96, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 80u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 80u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== gate_gemm
// gate: 96 rows of 72, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 96u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== up_gemm
// up: 96 rows of 72, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 6u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 96u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + 96u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== down_gemm
// down: 80 rows of 90, any number of tokens. y = W q, q being int8.
//
// Codes as in the kernel for one token. A workgroup computes 64 rows x 64 tokens, 128 columns at a time, which it unpacks into
// its memory: a thread's products are 4 rows x 4 tokens.
// Written from templates/wgsl/gemm.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> codes: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec2f>; // of the halves of a row block
@group(0) @binding(4) var<storage, read> q: array<vec4u>;
@group(0) @binding(5) var<storage, read> quant: array<Quant>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;

const BLOCKS = 5u; // of 16 rows
const TILES = 1u;   // of 128 columns

// What quantising a token's activations left behind.
struct Quant {
  inverse_scale: f32, // largest / 127
  sum: i32,           // of the int8 values
}

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

// Of each four columns: the codes of 64 rows, and the activations of 64 tokens.
var<workgroup> a: array<vec4u, 512>;
var<workgroup> b: array<vec4u, 512>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first_block = group.x * 4u;
  let first_token = group.y * 64u;
  let mine = vec2u(thread % 16u, thread / 16u); // quads of rows and tokens
  var sums: array<vec4i, 4>; // of a token, four rows
  for (var tile = 0u; tile < TILES; tile++) {
    if (thread < 128u) {
      // Four rows' words of the same columns: word i of lanes 16 p + c, 16 p + 4 + c, and so on.
      let c = thread % 4u;
      let i = thread / 4u % 4u;
      let p = thread / 16u % 2u;
      let block = min(first_block + thread / 32u, place.count - 1u);
      let at = ((block * TILES + tile) * 32u + p * 16u + c) * 4u + i;
      let words = vec4u(codes[at], codes[at + 16u], codes[at + 32u], codes[at + 48u]);
      let to = thread / 32u * 4u + i % 2u * 2u + p;
      for (var j = 0u; j < 4u; j++) {
        a[(8u * j + i / 2u * 4u + c) * 16u + to] = (words >> vec4u(2u * j)) & vec4u(0x03030303u);
      }
    } else {
      // Four tokens' words of the same columns.
      let n = thread % 8u;
      let quad = (thread - 128u) / 8u;
      let at = ((first_token + quad * 4u) * TILES + tile) * 8u + n;
      let words = array(q[at], q[at + TILES * 8u], q[at + TILES * 16u], q[at + TILES * 24u]);
      for (var j = 0u; j < 4u; j++) {
        b[(8u * j + n % 2u * 4u + n / 2u) * 16u + quad] = vec4u(words[0][j], words[1][j], words[2][j], words[3][j]);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k++) {
      let rows = a[k * 16u + mine.x];
      let tokens = b[k * 16u + mine.y];
      for (var t = 0u; t < 4u; t++) {
        sums[t] += vec4i(dot4(rows.x, tokens[t]), dot4(rows.y, tokens[t]), dot4(rows.z, tokens[t]), dot4(rows.w, tokens[t]));
      }
    }
    workgroupBarrier();
  }

  let at = first_block + mine.x / 4u;
  let block = place.first + at;
  for (var t = 0u; t < 4u; t++) { sums[t] -= vec4i(quant[first_token + mine.y * 4u + t].sum); }
  if (at >= place.count) { return; }
  for (var t = 0u; t < 4u; t++) {
    let token = first_token + mine.y * 4u + t;
    if (token >= step.tokens) { break; }
    if (place.trial == 1u) {
      for (var r = 0u; r < 4u; r++) { out[token * 80u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 80u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}

// ===== largest
// The largest logit of each of 128 slices of the one row that there is, of equals that of the lowest id.
// Written from templates/wgsl/largest.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> slices: array<Candidate>;
@group(0) @binding(4) var<storage, read_write> bins: array<u32>;

struct Candidate {
  logit: f32,
  id: u32,
}

const NOBODY = Candidate(-3.4028234e38, 0xffffffffu);

var<workgroup> candidates: array<Candidate, 256>;

// A logit that is not a number is better than none.
fn better(a: Candidate, b: Candidate) -> Candidate {
  let wins = b.logit > a.logit || (b.logit == a.logit && b.id < a.id);
  return Candidate(select(a.logit, b.logit, wins), select(a.id, b.id, wins));
}

// The best of the slices.
fn best_of_slices(thread: u32) -> Candidate {
  candidates[thread] = NOBODY;
  if (thread < 128u) { candidates[thread] = slices[thread]; }
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { candidates[thread] = better(candidates[thread], candidates[thread + half]); }
  }
  workgroupBarrier();
  return candidates[0];
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  var best = NOBODY;
  for (var id = group.x * 256u + thread; id < step.choices; id += 128u * 256u) {
    best = better(best, Candidate(logits[id], id));
  }
  // What the next launch counts in.
  let bin = group.x * 256u + thread;
  if (bin < 1024u) { bins[bin] = 0u; }
  candidates[thread] = best;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { candidates[thread] = better(candidates[thread], candidates[thread + half]); }
  }
  if (thread == 0u) { slices[group.x] = candidates[0]; }
}

// ===== choose
// The largest logit of all.
// Written from templates/wgsl/choose.wgsl.hbs.
// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> slices: array<Candidate>;
@group(0) @binding(2) var<storage, read_write> found: Found;

struct Found {
  count: u32,
  candidate: array<Candidate>,
}

struct Candidate {
  logit: f32,
  id: u32,
}

const NOBODY = Candidate(-3.4028234e38, 0xffffffffu);

var<workgroup> candidates: array<Candidate, 256>;

// A logit that is not a number is better than none.
fn better(a: Candidate, b: Candidate) -> Candidate {
  let wins = b.logit > a.logit || (b.logit == a.logit && b.id < a.id);
  return Candidate(select(a.logit, b.logit, wins), select(a.id, b.id, wins));
}

// The best of the slices.
fn best_of_slices(thread: u32) -> Candidate {
  candidates[thread] = NOBODY;
  if (thread < 128u) { candidates[thread] = slices[thread]; }
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { candidates[thread] = better(candidates[thread], candidates[thread + half]); }
  }
  workgroupBarrier();
  return candidates[0];
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
  let best = best_of_slices(thread);
  if (thread > 0u) { return; }
  found.count = select(1u, 0u, best.id == 0xffffffffu);
  found.candidate[0] = best;
}

// ===== histogram
// How far logits lie below the largest, counted in sixteenths.
// Written from templates/wgsl/histogram.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> slices: array<Candidate>;
@group(0) @binding(4) var<storage, read_write> bins: array<atomic<u32>>;

struct Candidate {
  logit: f32,
  id: u32,
}

const NOBODY = Candidate(-3.4028234e38, 0xffffffffu);

var<workgroup> candidates: array<Candidate, 256>;

// A logit that is not a number is better than none.
fn better(a: Candidate, b: Candidate) -> Candidate {
  let wins = b.logit > a.logit || (b.logit == a.logit && b.id < a.id);
  return Candidate(select(a.logit, b.logit, wins), select(a.id, b.id, wins));
}

// The best of the slices.
fn best_of_slices(thread: u32) -> Candidate {
  candidates[thread] = NOBODY;
  if (thread < 128u) { candidates[thread] = slices[thread]; }
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { candidates[thread] = better(candidates[thread], candidates[thread + half]); }
  }
  workgroupBarrier();
  return candidates[0];
}

const BINS = 1024u;

fn bin_of(logit: f32, largest: f32) -> u32 {
  return u32(clamp((largest - logit) * 16.0, 0.0, f32(BINS - 1u)));
}

var<workgroup> counts: array<atomic<u32>, BINS>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let largest = best_of_slices(thread).logit;
  for (var id = group.x * 256u + thread; id < step.choices; id += 128u * 256u) {
    atomicAdd(&counts[bin_of(logits[id], largest)], 1u);
  }
  workgroupBarrier();
  for (var i = thread; i < BINS; i += 256u) {
    let count = atomicLoad(&counts[i]);
    if (count > 0u) { atomicAdd(&bins[i], count); }
  }
}

// ===== collect
// The largest logits: as many as are wanted and a few more, all that lie so far below the last of them, and some rows that are
// wanted whatever their logits. In no order. The count goes on where there is no room for more.
// Written from templates/wgsl/collect.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read> slices: array<Candidate>;
@group(0) @binding(4) var<storage, read> bins: array<u32>;
@group(0) @binding(5) var<storage, read> more: array<u32>;
@group(0) @binding(6) var<storage, read_write> found: Found;

struct Found {
  count: atomic<u32>,
  candidate: array<Candidate>,
}

struct Candidate {
  logit: f32,
  id: u32,
}

const NOBODY = Candidate(-3.4028234e38, 0xffffffffu);

var<workgroup> candidates: array<Candidate, 256>;

// A logit that is not a number is better than none.
fn better(a: Candidate, b: Candidate) -> Candidate {
  let wins = b.logit > a.logit || (b.logit == a.logit && b.id < a.id);
  return Candidate(select(a.logit, b.logit, wins), select(a.id, b.id, wins));
}

// The best of the slices.
fn best_of_slices(thread: u32) -> Candidate {
  candidates[thread] = NOBODY;
  if (thread < 128u) { candidates[thread] = slices[thread]; }
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { candidates[thread] = better(candidates[thread], candidates[thread + half]); }
  }
  workgroupBarrier();
  return candidates[0];
}

const BINS = 1024u;

fn bin_of(logit: f32, largest: f32) -> u32 {
  return u32(clamp((largest - logit) * 16.0, 0.0, f32(BINS - 1u)));
}

const ROOM = 4096u;

var<workgroup> last: atomic<u32>;
var<workgroup> sums: array<u32, 256>;

// The bin that holds the last logit wanted: a thread adds up a stretch of bins, then all of them in turn.
fn last_bin(thread: u32) -> u32 {
  const EACH = BINS / 256u;
  var own: array<u32, EACH>;
  var sum = 0u;
  for (var i = 0u; i < EACH; i++) {
    sum += bins[thread * EACH + i];
    own[i] = sum;
  }
  sums[thread] = sum;
  if (thread == 0u) { atomicStore(&last, BINS - 1u); }
  for (var reach = 1u; reach < 256u; reach *= 2u) {
    workgroupBarrier();
    let before = select(0u, sums[max(thread, reach) - reach], thread >= reach);
    workgroupBarrier();
    sums[thread] += before;
  }
  let before = sums[thread] - sum;
  for (var i = 0u; i < EACH; i++) {
    if (before + own[i] >= step.keep) {
      atomicMin(&last, thread * EACH + i);
      break;
    }
  }
  workgroupBarrier();
  return atomicLoad(&last);
}

fn add(id: u32) {
  let at = atomicAdd(&found.count, 1u);
  if (at < ROOM) { found.candidate[at] = Candidate(logits[id], id); }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let largest = best_of_slices(thread).logit;
  let bin = last_bin(thread);
  let reach = f32(bin + 1u) / 16.0 + step.margin;
  for (var id = group.x * 256u + thread; id < step.choices; id += 128u * 256u) {
    let logit = logits[id];
    if (bin_of(logit, largest) <= bin || (step.margin > 0.0 && largest - logit <= reach)) { add(id); }
  }
  if (group.x > 0u) { return; }
  for (var i = thread; i < step.more; i += 256u) { add(more[i]); }
}

// ===== probe_read
// Reads memory as fast as it comes: 16 vec4u a thread, one after the other of a workgroup's.
// Written from templates/wgsl/probe_read.wgsl.hbs.
@group(0) @binding(0) var<storage, read> data: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * 256u + group.x) * 256u * 16u + thread;
  var all = vec4u();
  for (var i = 0u; i < 16u; i++) { all |= data[first + i * 256u]; }
  // Never so: what is read has no such bits.
  if ((all.x | all.y | all.z | all.w) == 0xffffffffu) { seen[0] = thread; }
}

// ===== probe_dot
// Products of four int8 with four others, in registers.
// Written from templates/wgsl/probe_dot.wgsl.hbs.
@group(0) @binding(0) var<storage, read_write> seen: array<i32>;

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) at: vec3u) {
  var sums: array<i32, 16>;
  var a = at.x;
  for (var i = 0u; i < 64u; i++) {
    for (var j = 0u; j < 16u; j++) { sums[j] += dot4(a, a ^ j); }
    a += 0x01010101u;
  }
  var sum = 0;
  for (var j = 0u; j < 16u; j++) { sum ^= sums[j]; }
  if (sum == 0x7fffffff) { seen[0] = sum; }
}
