// bn_bitlinear_i2_rows_gemv_m128k64_t16x64x1__wasm_simd128
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for up to 16 tokens, and for
// those rows m that are asked for.
//
// Weights, row after row, each a run of 64-byte blocks of 256 columns:
//
//   byte i of a block         bits 7..6       5..4       3..2       1..0
//   column                    192 + i         128 + i    64 + i     i          code = weight + 1
//
// Bounds: 512 * 64 / 4 <= 32767 (int16).
// Written from templates/cpp/bitlinear_i2_rows_gemv.cpp.hbs for target wasm-simd128.
#include "lists.h"

namespace {

constexpr int32_t kBlocks = 1; // of 256 columns: K = 64, padded
constexpr int64_t kRowBytes = int64_t{kBlocks} * 64, kColumns = int64_t{kBlocks} * 256;
constexpr int32_t kAhead = kRowBytes < 4096 ? 4096 / kRowBytes : 1; // rows of the list that prefetches run ahead

// The activations of the tokens, each as long as a row.
inline const int8_t *activations(const bn_bitlinear_args *args) {
  std::memset(args->scratch, 0, args->tokens * kColumns);
  for (int32_t t = 0; t < args->tokens; ++t) std::memcpy(args->scratch + t * kColumns, args->q + t * 64, 64);
  return reinterpret_cast<const int8_t *>(args->scratch);
}

template <int Tokens>
inline void store(const bn_bitlinear_args *args, const int8_t *q, int32_t row, int32_t token) {
  int32_t sums[Tokens];
  bn_row_dots<Tokens>(sums, args->weights + row * kRowBytes, q + token * kColumns, kColumns, kBlocks);
  for (int t = 0; t < Tokens; ++t) {
    const bn_quant quant = args->quant[token + t];
    const float value = static_cast<float>(sums[t] - quant.sum) * (args->group_scales[row / 16] * quant.inverse_scale);
    float &y = args->y[(token + t) * args->y_stride + row];
    y = args->accumulate ? y + value : value;
  }
}

inline void compute(const bn_bitlinear_args *args, const int8_t *q, int32_t row) {
  int32_t token = 0;
  for (; token + 4 <= args->tokens; token += 4) store<4>(args, q, row, token);
  for (; token + 2 <= args->tokens; token += 2) store<2>(args, q, row, token);
  if (token < args->tokens) store<1>(args, q, row, token);
}

} // namespace

void bn_bitlinear_i2_rows_gemv_m128k64_t16x64x1__wasm_simd128_listed(const bn_bitlinear_args *args, const int32_t *rows, int32_t count, int32_t left) {
  const int8_t *q = activations(args);
  for (int32_t i = 0; i < count; ++i) {
    if (i + kAhead < left) {
      const uint8_t *ahead = args->weights + rows[i + kAhead] * kRowBytes;
      for (int32_t line = 0; line < kRowBytes; line += 64) bn_prefetch_far(ahead + line);
    }
    compute(args, q, rows[i]);
  }
}

void bn_bitlinear_i2_rows_gemv_m128k64_t16x64x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  const int8_t *q = activations(args);
  for (int32_t row = group_begin * 16; row < group_end * 16; ++row) compute(args, q, row);
}
