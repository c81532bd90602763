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
