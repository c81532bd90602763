// The head: logits[t][row] = head[row] . hidden[t], 97 rows of 100 values, F32.
// One token multiplies a row as it is decoded; of several, a row is decoded once and meets them all. Either way a dot
// product adds in the same order, so logits do not depend on the batch.
// Written from templates/cpp/head.cpp.hbs for target arm-neon.
#include "blocks.h"
#include "rows.h"
#include "tables.h"

namespace {

constexpr int kCols = 112; // 100, padded
constexpr int64_t kRowBytes = 400;

// Rows of 100 float32 values, side by side: emit(row, column, values) for every sixteen of them. Meanwhile as
// many rows at `next` are prefetched.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, const uint8_t *next, Emit emit) {
  constexpr int kWhole = 96;
  for (int i = 0; i < kWhole; i += 16) {
    BN_UNROLL for (int r = 0; r < Rows; ++r) {
      const uint8_t *row = rows + r * kRowBytes;
      bn_prefetch_row(row, next + r * kRowBytes, i * int64_t{sizeof(float)}, kRowBytes);
      emit(r, i, bn_load16(reinterpret_cast<const float *>(row) + i));
    }
  }
  for (int r = 0; r < Rows; ++r) {
    float last[16] = {};
    std::memcpy(last, rows + r * kRowBytes + kWhole * sizeof(float), 4 * sizeof(float));
    emit(r, kWhole, bn_load16(last));
  }
}

template <int Rows>
inline void one_token(float *logits, const uint8_t *rows, const uint8_t *next, const float *hidden) {
  bn_f32x16 sum[Rows];
  BN_UNROLL for (int r = 0; r < Rows; ++r) sum[r] = bn_zero16();
  decode_rows<Rows>(rows, next, [&sum, hidden](int r, int column, const bn_f32x16 &values) {
    bn_fma16(sum[r], values, bn_load16(hidden + column));
  });
  BN_UNROLL for (int r = 0; r < Rows; ++r) logits[r] = bn_total(sum[r]);
}

// Running sums of several rows and tokens share the registers.
template <int Rows, int Tokens>
inline void multiply(float *logits, const float *decoded, const float *hidden) {
  bn_f32x16 sum[Tokens][Rows];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    BN_UNROLL for (int r = 0; r < Rows; ++r) sum[t][r] = bn_zero16();
  }
  for (int i = 0; i < kCols; i += 16) {
    bn_f32x16 row[Rows];
    BN_UNROLL for (int r = 0; r < Rows; ++r) row[r] = bn_load16(decoded + r * kCols + i);
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      const bn_f32x16 x = bn_load16(hidden + t * kCols + i);
      BN_UNROLL for (int r = 0; r < Rows; ++r) bn_fma16(sum[t][r], row[r], x);
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    BN_UNROLL for (int r = 0; r < Rows; ++r) logits[t * int64_t{97} + r] = bn_total(sum[t][r]);
  }
}

template <int Rows>
inline void many_tokens(float *logits, const uint8_t *rows, const float *hidden, int32_t tokens, float *decoded) {
  decode_rows<Rows>(rows, rows + Rows * kRowBytes, [decoded](int r, int column, const bn_f32x16 &values) {
    bn_store16(decoded + r * kCols + column, values);
  });
  int32_t t = 0;
  for (; t < tokens; ++t) multiply<Rows, 1>(logits + t * int64_t{97}, decoded, hidden + t * int64_t{kCols});
}

template <int Rows>
inline void rows(float *logits, const uint8_t *rows, const float *hidden, int32_t tokens, float *scratch) {
  if (tokens == 1) {
    one_token<Rows>(logits, rows, rows + Rows * kRowBytes, hidden);
  } else {
    many_tokens<Rows>(logits, rows, hidden, tokens, scratch);
  }
}

} // namespace

void bn_head(float *logits, const uint8_t *table, const float *hidden, int32_t tokens, int32_t row_begin,
             int32_t row_end, float *scratch) {
  int32_t row = row_begin;
  for (; row + 4 <= row_end; row += 4) {
    rows<4>(logits + row, table + row * kRowBytes, hidden, tokens, scratch);
  }
  for (; row < row_end; ++row) rows<1>(logits + row, table + row * kRowBytes, hidden, tokens, scratch);
}

void bn_head_rows(float *logits, const uint8_t *table, const float *hidden, const int32_t *rows, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    const int32_t next = rows[i + 1 < count ? i + 1 : i];
    one_token<1>(logits + rows[i], table + rows[i] * kRowBytes, table + next * kRowBytes, hidden);
  }
}
