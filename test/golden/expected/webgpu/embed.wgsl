// The embedding of each token, 96 rows of 128.
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

// Value i of a row of 128 float16, in the head's tiles.
fn table_value(row: u32, i: u32) -> f32 {
  let group = (row / 16u * (128u / 128u) + i / 128u) * 1024u;
  let lane32 = row % 8u * 4u + i % 8u / 2u;
  let word = row % 16u / 8u + 2u * (i % 16u / 8u);
  return unpack2x16float(table[group + i % 128u / 16u * 128u + lane32 * 4u + word])[i % 2u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let row = u32(step.token[at.y].id) - place.first;
  if (row >= place.count || at.x >= 128u) { return; }
  var value = 0.0;
  if (at.x < 128u) { value = table_value(row, at.x); }
  out[at.y * 128u + at.x] = value;
}
