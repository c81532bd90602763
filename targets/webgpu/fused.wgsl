// a * b + c, rounded once, from products and sums that are rounded each: the error of either is a float32 itself, and what is
// added last is rounded to odd, so that only the last addition rounds to the nearest.
fn fused(a: f32, b: f32, c: f32) -> f32 {
  let product = a * b;
  if (abs(product) < 1e-30) { return product + c; }
  let a_high = 4097.0 * a - (4097.0 * a - a);
  let b_high = 4097.0 * b - (4097.0 * b - b);
  let a_low = a - a_high;
  let b_low = b - b_high;
  let product_error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
  let sum = product + c;
  let c_part = sum - product;
  let sum_error = (product - (sum - c_part)) + (c - c_part);
  let error = sum_error + product_error;
  let error_part = error - sum_error;
  let rest = (sum_error - (error - error_part)) + (product_error - error_part);
  let bits = bitcast<u32>(error);
  if (rest == 0.0 || (bits & 1u) == 1u) { return sum + error; }
  return sum + bitcast<f32>(select(bits - 1u, bits + 1u, (rest > 0.0) == (error > 0.0)));
}
