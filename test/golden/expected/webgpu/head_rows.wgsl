// The head, 97 rows of 100: 32 lanes take a row, of up to 1 hidden state.
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

// Value i of a row of 100 float32.
fn table_value(row: u32, i: u32) -> f32 {
  return bitcast<f32>(table[row * 100u + i]);
}

var<workgroup> partial: array<f32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let row = group.x * 8u + thread / 32u;
  let first = group.y * 1u;
  var sums: array<f32, 1>;
  if (row < place.count) {
    for (var i = thread % 32u; i < 100u; i += 32u) {
      let value = table_value(row, i);
      for (var t = 0u; t < 1u; t++) { sums[t] = fma(value, hidden[(first + t) * 112u + i], sums[t]); }
    }
  }
  for (var t = 0u; t < 1u; t++) { partial[t * 256u + thread] = sums[t]; }
  workgroupBarrier();
  let mine = group.x * 8u + thread % 8u;
  let token = thread / 8u;
  if (token >= 1u || first + token >= step.rows || mine >= place.count) { return; }
  var sum = 0.0;
  for (var i = 0u; i < 32u; i++) { sum += partial[token * 256u + thread % 8u * 32u + i]; }
  logits[(first + token) * 97u + place.first + mine] = sum;
}
