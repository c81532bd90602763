// queries and keys rotate, keys and values go to the cache: a workgroup a head of a token.
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
@group(0) @binding(4) var<storage, read> angles: array<vec2f>; // cosine and sine

const HEADS = 8u;
const KV_HEADS = 2u;
const DIM = 16u;
const PAIRS = 8u;
const TURNING = 8u; // pairs that rotate

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

// Two values of a head, rotated.
fn turned(a: f32, b: f32, angle: vec2f) -> vec2f {
  return vec2f(rounded(a * angle.x) - rounded(b * angle.y), rounded(b * angle.x) + rounded(a * angle.y));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let token = step.token[group.y];
  let position = u32(token.position);
  let is_query = group.x < HEADS;
  let is_key = !is_query && group.x < HEADS + KV_HEADS;
  let number = select((group.x - HEADS) % KV_HEADS, group.x, is_query);
  let source = group.y * 192u + select(select(160u, 128u, is_key), 0u, is_query) + number * DIM;
  for (var i = thread; i < DIM; i += 64u) { head[i] = qkv[source + i]; }
  workgroupBarrier();
  if (is_query || is_key) {
    let turn = position * TURNING;
    for (var i = thread; i < TURNING; i += 64u) {
      let one = i;
      let other = i + TURNING;
      let both = turned(head[one], head[other], angles[turn + i]);
      head[one] = both.x;
      head[other] = both.y;
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
