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
