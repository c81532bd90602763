// bn_bitlinear_i2_rows_gemv_m48k250_t16x256x1__wasm_simd128
// y[m] = (sum over k of (code[m][k] - 1) * q[k]) * group_scale[m / 16] * inverse_scale, for one token, and for those rows m
// that are asked for.
//
// Weights, row after row, each a run of 64-byte blocks of 256 columns:
//
//   byte i of a block         bits 7..6       5..4       3..2       1..0
//   column                    192 + i         128 + i    64 + i     i          code = weight + 1
//
// Bounds: 512 * 256 / 4 <= 32767 (int16).
// Written from templates/cpp/bitlinear_i2_rows_gemv.cpp.hbs for target wasm-simd128.
#include "kernels.h"
#include "lists.h"

namespace {

constexpr int32_t kBlocks = 1; // of 256 columns: K = 250, padded
constexpr int64_t kRowBytes = int64_t{kBlocks} * 64;
constexpr int32_t kAhead = kRowBytes < 4096 ? 4096 / kRowBytes : 1; // rows of the list that prefetches run ahead

// The activations, as long as the weights.
inline const int8_t *activations(const bn_bitlinear_args *args) {
  return args->q;
}

inline void compute(const bn_bitlinear_args *args, const int8_t *q, int32_t row) {
  const float scale = args->group_scales[row / 16] * args->quant->inverse_scale;
  const int32_t sum = bn_row_dot(args->weights + row * kRowBytes, q, kBlocks) - args->quant->sum;
  const float value = static_cast<float>(sum) * scale;
  args->y[row] = args->accumulate ? args->y[row] + value : value;
}

} // namespace

void bn_bitlinear_i2_rows_gemv_m48k250_t16x256x1__wasm_simd128_listed(const bn_bitlinear_args *args, const int32_t *rows, int32_t count) {
  const int8_t *q = activations(args);
  for (int32_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      const uint8_t *ahead = args->weights + rows[i + kAhead] * kRowBytes;
      for (int32_t line = 0; line < kRowBytes; line += 64) bn_prefetch_far(ahead + line);
    }
    compute(args, q, rows[i]);
  }
}

void bn_bitlinear_i2_rows_gemv_m48k250_t16x256x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  const int8_t *q = activations(args);
  for (int32_t row = group_begin * 16; row < group_end * 16; ++row) compute(args, q, row);
}
