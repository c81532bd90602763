// The largest logit of all.
// Written from templates/wgsl/choose.wgsl.hbs.
// Which of the launches of this kernel this one is.
struct Place {
  first: u32, // of the rows, or groups of rows, that are bound
  count: u32, // how many of them
  window: u32, // positions that the layer attends to; 0: all
  trial: u32,  // 1: the sums themselves are wanted, of activations that are given
}
@group(0) @binding(0) var<uniform> place: Place;
@group(0) @binding(1) var<storage, read> slices: array<Candidate>;
@group(0) @binding(2) var<storage, read_write> found: Found;

struct Found {
  count: u32,
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

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) thread: u32) {
  let best = best_of_slices(thread);
  if (thread > 0u) { return; }
  found.count = select(1u, 0u, best.id == 0xffffffffu);
  found.candidate[0] = best;
}
