// Products of four int8 with four others, in registers.
// Written from templates/wgsl/probe_dot.wgsl.hbs.
@group(0) @binding(0) var<storage, read_write> seen: array<i32>;

// The sum of the products of four int8 with four others.
fn dot4(a: u32, b: u32) -> i32 {
  return dot4I8Packed(a, b);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) at: vec3u) {
  var sums: array<i32, 16>;
  var a = at.x;
  for (var i = 0u; i < 64u; i++) {
    for (var j = 0u; j < 16u; j++) { sums[j] += dot4(a, a ^ j); }
    a += 0x01010101u;
  }
  var sum = 0;
  for (var j = 0u; j < 16u; j++) { sum ^= sums[j]; }
  if (sum == 0x7fffffff) { seen[0] = sum; }
}
