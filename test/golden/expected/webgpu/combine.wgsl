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

const DIM = 16u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * 8u + group.x) * step.splits * (DIM + 2u);
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
    out[group.y * 128u + group.x * DIM + i] = sum / total;
  }
}
