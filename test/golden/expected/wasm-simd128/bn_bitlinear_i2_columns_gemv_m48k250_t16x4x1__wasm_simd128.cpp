// bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128
// y[m] = (sum over k of (code[m][k] - 1) * q[k]) * group_scale[m / 16] * inverse_scale, for one token. Of the columns k,
// those where q[k] is zero are not read.
//
// Weights, column after column, each a run of 64-byte blocks of 256 rows, 16 row groups of 16:
//
//   byte 16L + 4h + d         bits 7..6       5..4       3..2       1..0
//   row 4L + d of row group   4h + 3          4h + 2     4h + 1     4h         code = weight + 1
//
// Threads share the columns. Each adds up its own, and then they share the rows and add up what all have found.
//
// Bounds: 512 * 4 / 4 <= 32767 (int16).
// Written from templates/cpp/bitlinear_i2_columns_gemv.cpp.hbs for target wasm-simd128.
#include "kernels.h"
#include "lists.h"

namespace {

constexpr int64_t kColumnBytes = 64; // 48 codes, padded
constexpr int32_t kRows = kColumnBytes * 4;
constexpr int32_t kAhead = kColumnBytes < 4096 ? (4096 / kColumnBytes + 3) / 4 * 4 : 4; // columns that prefetches run ahead

} // namespace

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128_sums(int32_t *sums, const uint8_t *weights, const int8_t *q, const int32_t *columns, int32_t count) {
  std::memset(sums, 0, kRows * sizeof(int32_t));
  for (int32_t first = 0; first < count; first += 4) {
    const uint8_t *four[4], *ahead[4];
    int8_t values[4] = {};
    for (int c = 0; c < 4; ++c) {
      const int32_t at = first + c < count ? first + c : count - 1, next = at + kAhead < count ? at + kAhead : at;
      four[c] = weights + columns[at] * kColumnBytes;
      ahead[c] = weights + columns[next] * kColumnBytes;
      if (first + c < count) values[c] = q[columns[at]];
    }
    for (int32_t line = 0; line < kColumnBytes; line += 64) {
      for (const uint8_t *column : ahead) bn_prefetch(column + line);
      bn_columns_add(sums + line * 4, four, values);
      for (const uint8_t *&column : four) column += 64;
    }
  }
}

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128_total(const bn_bitlinear_args *args, const uint8_t *sums, int64_t stride, int32_t threads,
    int32_t group_begin, int32_t group_end) {
  for (int32_t group = group_begin; group < group_end; ++group) {
    bn_i32x16 total = bn_i32x16_zero();
    for (int32_t t = 0; t < threads; ++t) {
      total = bn_i32x16_add(total, bn_load_sums(reinterpret_cast<const int32_t *>(sums + t * stride) + group * 16));
    }
    const float scale = args->group_scales[group] * args->quant->inverse_scale;
    float *y = args->y + int64_t{group} * 16;
    if (args->accumulate) {
      bn_add_rows(y, total, args->quant->sum, scale);
    } else {
      bn_store_rows(y, total, args->quant->sum, scale);
    }
  }
}

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t *sums = reinterpret_cast<int32_t *>(args->scratch), *columns = sums + kRows;
  const int32_t count = bn_list_columns<256>(columns, args->q);
  bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128_sums(sums, args->weights, args->q, columns, count);
  bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__wasm_simd128_total(args, args->scratch, 0, 1, group_begin, group_end);
}
