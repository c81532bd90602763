// The head, 96 rows of 128, in tiles: 16 rows x 128 columns are a group of 4096 bytes, groups follow each other along the
// columns, then along the rows. 32 lanes take sixteen rows, of up to 1 hidden state; lane 4 g + c has parts of rows g and g + 8.
// A group is 8 x 32 vec4u: tile t, row g + 8 (i & 1), columns 16 t + 8 (i >> 1) + 2 c and the next in word i of lane 4 g + c.
// Written from templates/wgsl/head_tiles.wgsl.hbs.
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
@group(0) @binding(2) var<storage, read> table: array<vec4u>;
@group(0) @binding(3) var<storage, read> hidden: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;

const GROUPS = 1u; // along the columns
const STRIDE = 128u / 2u;

alias Words = array<vec4u, 8>;

// What a lane has of a group, but for scales.
fn words_of(group: u32, lane32: u32) -> Words {
  var words: Words;
  for (var i = 0u; i < 8u; i++) { words[i] = table[group + i * 32u + lane32]; }
  return words;
}

// Of each lane, rows g and g + 8.
var<workgroup> partial: array<vec2f, 256>;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) at: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let lane32 = thread % 32u;
  let g = lane32 / 4u;
  let c = lane32 % 4u;
  // Lanes beyond the end repeat the last rows, and leave nothing.
  let sixteen = min(at.x * 8u + thread / 32u, (place.count - 1u) / 16u);
  let first = at.y * 1u;
  var sums: array<vec2f, 1>;
  var next = words_of(sixteen * GROUPS * 256u, lane32);
  for (var i = 0u; i < GROUPS; i++) {
    let group = (sixteen * GROUPS + i) * 256u;
    // Those of the next group are on their way meanwhile.
    let words = next;
    next = words_of((sixteen * GROUPS + min(i + 1u, GROUPS - 1u)) * 256u, lane32);
    for (var tile = 0u; tile < 8u; tile++) {
      let left = vec4f(unpack2x16float(words[tile].x), unpack2x16float(words[tile].y));
      let right = vec4f(unpack2x16float(words[tile].z), unpack2x16float(words[tile].w));
      for (var t = 0u; t < 1u; t++) {
        let x = (first + t) * STRIDE + i * 64u + tile * 8u + c;
        let a = hidden[x];
        let b = hidden[x + 4u];
        sums[t] += vec2f(dot(left.xy, a) + dot(right.xy, b), dot(left.zw, a) + dot(right.zw, b));
      }
    }
  }
  for (var t = 0u; t < 1u; t++) { partial[t * 256u + thread] = sums[t]; }
  workgroupBarrier();
  for (var i = thread; i < 128u; i += 256u) {
    let t = i / 128u;
    let row = at.x * 128u + i % 128u;
    if (first + t >= step.rows || row >= place.count) { continue; }
    let own = t * 256u + i % 128u / 16u * 32u + i % 8u * 4u;
    var sum = vec2f();
    for (var k = 0u; k < 4u; k++) { sum += partial[own + k]; }
    logits[(first + t) * 96u + place.first + row] = sum[i / 8u % 2u];
  }
}
