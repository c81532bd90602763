// bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni
// y[t][m] = (sum over k of (code[m][k] - 1) * q[t][k]) * group_scale[m / 16] * inverse_scale[t], for up to 16 tokens. Of the
// columns k, those where q[t][k] is zero for all of them are not read.
//
// Weights, column after column, each a run of 64-byte blocks of 256 rows, 16 row groups of 16:
//
//   byte 16L + 4h + d         bits 7..6       5..4       3..2       1..0
//   row 4L + d of row group   4h + 3          4h + 2     4h + 1     4h         code = weight + 1
//
// Threads share the columns. Each adds up its own, and then they share the rows and add up what all have found.
//
// Bounds: 65536 * 16 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_i2_columns_gemv.cpp.hbs for target x86-avx512vnni.
#include "lists.h"

namespace {

constexpr int64_t kColumnBytes = 64; // 48 codes, padded
constexpr int32_t kRows = kColumnBytes * 4;
constexpr int32_t kRun = 32; // columns that are added at once: the nearest cache holds these and the next

// What is added to sums at once: some columns, and the activations that they meet.
struct Run {
  const uint8_t *columns[kRun];
  int8_t values[16][kRun];
};

template <int Tokens>
inline void add(int32_t *sums, const Run &run, int64_t line, int32_t token, int32_t quads) {
  bn_columns_add<Tokens>(sums + token * kRows + line * 4, kRows, run.columns, line, run.values[token], kRun, quads);
}

} // namespace

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni_sums(int32_t *sums, const bn_bitlinear_args *args, const int32_t *columns, int32_t count,
    int32_t left) {
  const int32_t tokens = args->tokens;
  for (int32_t first = 0; first < count; first += kRun) {
    const int32_t here = count - first, quads = (here < kRun ? here + 3 : kRun) / 4;
    Run run = {};
    const uint8_t *ahead[kRun];
    for (int c = 0; c < 4 * quads; ++c) {
      const int32_t at = c < here ? first + c : count - 1, next = at + kRun < left ? at + kRun : at;
      run.columns[c] = args->weights + columns[at] * kColumnBytes;
      ahead[c] = args->weights + columns[next] * kColumnBytes;
      for (int32_t t = 0; c < here && t < tokens; ++t) run.values[t][c] = args->q[int64_t{t} * 256 + columns[at]];
    }
    for (int64_t line = 0; line < kColumnBytes; line += 64) {
      for (int c = 0; c < 4 * quads; ++c) bn_prefetch(ahead[c] + line);
      int32_t token = 0;
      for (; token + 4 <= tokens; token += 4) add<4>(sums, run, line, token, quads);
      for (; token + 2 <= tokens; token += 2) add<2>(sums, run, line, token, quads);
      if (token < tokens) add<1>(sums, run, line, token, quads);
    }
  }
}

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni_total(const bn_bitlinear_args *args, const uint8_t *sums, int64_t stride, int32_t threads,
    int32_t group_begin, int32_t group_end) {
  for (int32_t token = 0; token < args->tokens; ++token) {
    const bn_quant quant = args->quant[token];
    for (int32_t group = group_begin; group < group_end; ++group) {
      bn_i32x16 total = bn_i32x16_zero();
      for (int32_t t = 0; t < threads; ++t) {
        const int32_t *found = reinterpret_cast<const int32_t *>(sums + t * stride) + token * kRows;
        total = bn_i32x16_add(total, bn_load_sums(found + group * 16));
      }
      const float scale = args->group_scales[group] * quant.inverse_scale;
      float *y = args->y + token * args->y_stride + int64_t{group} * 16;
      if (args->accumulate) {
        bn_add_rows(y, total, quant.sum, scale);
      } else {
        bn_store_rows(y, total, quant.sum, scale);
      }
    }
  }
}

void bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t *sums = reinterpret_cast<int32_t *>(args->scratch), *columns = sums + 16 * kRows;
  const int32_t count = bn_list_columns<256>(columns, args->q, args->tokens);
  std::memset(sums, 0, args->tokens * kRows * sizeof(int32_t));
  bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni_sums(sums, args, columns, count, count);
  bn_bitlinear_i2_columns_gemv_m48k250_t16x4x1__x86_avx512vnni_total(args, args->scratch, 0, 1, group_begin, group_end);
}
