// qkv: 192 rows of 128, any number of tokens. y = W q, q being int8.
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

const BLOCKS = 12u; // of 16 rows
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
      for (var r = 0u; r < 4u; r++) { out[token * 192u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]); }
      continue;
    }
    let scale = scales[block][mine.x % 4u / 2u] * quant[token].inverse_scale;
    for (var r = 0u; r < 4u; r++) {
      out[token * 192u + block * 16u + mine.x % 4u * 4u + r] = f32(sums[t][r]) * scale;
    }
  }
}
