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

// Of each part: its largest score, then what its sums are to be scaled with, and its share of the whole weight.
var<workgroup> most: array<f32, 64>;
var<workgroup> factors: array<f32, 64>;
var<workgroup> weights: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  const EACH = DIM + 2u;
  let first = (group.y * 8u + group.x) * step.splits * EACH;
  let inside = thread < step.splits;
  let own = first + select(0u, thread, inside) * EACH + DIM;
  most[thread] = parts[own];
  workgroupBarrier();
  var top = most[0];
  for (var s = 1u; s < step.splits; s++) { top = max(top, most[s]); }
  factors[thread] = select(0.0, exp(most[thread] - top), inside);
  weights[thread] = factors[thread] * parts[own + 1u];
  workgroupBarrier();
  var total = 0.0;
  for (var s = 0u; s < step.splits; s++) { total += weights[s]; }
  for (var i = thread; i < DIM; i += 64u) {
    var sum = 0.0;
    for (var s = 0u; s < step.splits; s += 8u) {
      // Eight loads on their way at once; factors beyond the end are zero.
      var eight: array<f32, 8>;
      for (var j = 0u; j < 8u; j++) { eight[j] = parts[first + min(s + j, step.splits - 1u) * EACH + i]; }
      for (var j = 0u; j < 8u; j++) { sum = fma(eight[j], factors[s + j], sum); }
    }
    out[group.y * 128u + group.x * DIM + i] = sum / total;
  }
}
