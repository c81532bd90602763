// qkv: 192 rows of 128, one token. y = W q, q being int8.
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

const BLOCKS = 12u; // of 16 rows
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

var<workgroup> positive: atomic<u32>;
var<workgroup> counted: atomic<i32>;

// The largest of positive values, whose bits are in the same order; to be asked for once.
fn largest(value: f32) -> f32 {
  let part = subgroupMax(bitcast<u32>(value));
  if (lane == 0u) { atomicMax(&positive, part); }
  workgroupBarrier();
  return bitcast<f32>(atomicLoad(&positive));
}

// The sum of integers; to be asked for once.
fn sum_of(value: i32) -> i32 {
  let part = subgroupAdd(value);
  if (lane == 0u) { atomicAdd(&counted, part); }
  workgroupBarrier();
  return atomicLoad(&counted);
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

// The activations, in the order of quad_of.
var<workgroup> q: array<vec4u, TILES * 8u>;

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
  var v: Values;
  var by: Values;
  for (var i = 0u; i < 4u * PER; i++) {
    let quad = quad_of(i);
    if (quad < QUADS) {
      v[i] = value_at(0u, quad);
      by[i] = weights[quad];
    }
  }
  // Weights do not wait for the activations, nor activations behind weights.
  var w: array<vec4u, STEPS>;
  for (var i = 0u; i < STEPS; i++) {
    let tile = part + i * SPLIT;
    if (inside && tile < TILES) { w[i] = codes[(block * TILES + tile) * 32u + lane32]; }
  }
  // Nor does what this thread's row is scaled with.
  let own = thread; // of the workgroup's rows
  let own_block = place.first + group.x * 1u + own / 16u;
  let writes = own < 16u && own_block < place.first + place.count;
  var row_scale = 0.0;
  if (writes) {
    row_scale = scales[own_block][own / 8u % 2u];
  }
  var quant: Quant;
  if (place.trial == 1u) {
    quant = quant_given[0];
    for (var i = thread; i < TILES * 8u; i += 256u) { q[i] = q_given[i]; }
    workgroupBarrier();
  } else {
    let factor = norm_factor(v);
    for (var i = 0u; i < 4u * PER; i++) { v[i] = v[i] * factor * by[i]; }
    var most = 1e-5;
    for (var i = 0u; i < 4u * PER; i++) {
      let size = abs(v[i]);
      most = max(most, max(max(size.x, size.y), max(size.z, size.w)));
    }
    most = largest(most);
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
    let total = sum_of(sum.x + sum.y + sum.z + sum.w);
    quant = Quant(divided(most, 127.0), total);
  }
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

  if (!writes) { return; }
  let sum = atomicLoad(&sums[own]) - quant.sum;
  let to = own_block * 16u + own % 16u;
  if (place.trial == 1u) {
    out[to] = f32(sum);
  } else {
    let product = f32(sum) * (row_scale * quant.inverse_scale);
    out[to] = product;
  }
}
