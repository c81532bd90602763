// The sum of the products of four int8 with four others, of WGSL that has no instruction for it.
fn dot4(a: u32, b: u32) -> i32 {
  let x = (vec4i(bitcast<i32>(a)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  let y = (vec4i(bitcast<i32>(b)) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return dot(x, y);
}
