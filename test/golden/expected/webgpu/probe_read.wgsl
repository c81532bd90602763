// Reads memory as fast as it comes: 16 vec4u a thread, one after the other of a workgroup's.
// Written from templates/wgsl/probe_read.wgsl.hbs.
@group(0) @binding(0) var<storage, read> data: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> seen: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let first = (group.y * 256u + group.x) * 256u * 16u + thread;
  var all = vec4u();
  for (var i = 0u; i < 16u; i++) { all |= data[first + i * 256u]; }
  // Never so: what is read has no such bits.
  if ((all.x | all.y | all.z | all.w) == 0xffffffffu) { seen[0] = thread; }
}
