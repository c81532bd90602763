// Primitives for matrices that are read in part, on target `wasm-simd128`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Pairs of products in int16. Every second code is left where it lies, which multiplies it by four: the eight of a block add
// up to 8 * 2048 at most. They are divided at the end.
template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  const v128_t once = wasm_i8x16_const_splat(3), four_times = wasm_i8x16_const_splat(12);
  v128_t total[Tokens], total4[Tokens];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) total[t] = total4[t] = wasm_i32x4_const_splat(0);
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    v128_t pairs[Tokens], pairs4[Tokens];
    BN_UNROLL for (int t = 0; t < Tokens; ++t) pairs[t] = pairs4[t] = wasm_i16x8_const_splat(0);
    for (int i = 0; i < 64; i += 16) {
      const v128_t low = wasm_v128_load(row + i), high = wasm_u16x8_shr(low, 4);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const auto dots = [x = q + t * stride + i](v128_t codes, int j) {
          return bn_dot_pairs(codes, wasm_v128_load(x + 64 * j));
        };
        pairs[t] = wasm_i16x8_add(pairs[t], dots(wasm_v128_and(low, once), 0));
        pairs4[t] = wasm_i16x8_add(pairs4[t], dots(wasm_v128_and(low, four_times), 1));
        pairs[t] = wasm_i16x8_add(pairs[t], dots(wasm_v128_and(high, once), 2));
        pairs4[t] = wasm_i16x8_add(pairs4[t], dots(wasm_v128_and(high, four_times), 3));
      }
    }
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      total[t] = wasm_i32x4_add(total[t], wasm_i32x4_extadd_pairwise_i16x8(pairs[t]));
      total4[t] = wasm_i32x4_add(total4[t], wasm_i32x4_extadd_pairwise_i16x8(pairs4[t]));
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    sums[t] = bn_i32_reduce_add(wasm_i32x4_add(total[t], wasm_i32x4_shr(total4[t], 2)));
  }
}

static inline void bn_i2_rows_unpack(uint8_t *panel, int64_t stride, const uint8_t *block, int64_t row_bytes) {
  for (int dword = 0; dword < 16; ++dword) {
    for (int first = 0; first < 16; first += 4) {
      const auto row = [=](int r) { return block + (first + r) * row_bytes + 4 * dword; };
      v128_t packed = wasm_v128_load32_zero(row(0));
      packed = wasm_v128_load32_lane(row(1), packed, 1);
      packed = wasm_v128_load32_lane(row(2), packed, 2);
      packed = wasm_v128_load32_lane(row(3), packed, 3);
      for (int j = 0; j < 4; ++j) {
        wasm_v128_store(panel + (16 * j + dword) * stride + 4 * first, bn_codes_at(packed, j));
      }
    }
  }
}

// Codes of two columns beside each other, so that a pair of products is one row's: eight rows at a time, and of each of their
// bytes four rows. Every second code is left where it lies, which multiplies it by four: of 32 columns such products add up to
// between -32768 and 32512, in int16, and are divided when they are widened.
template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  const v128_t once = wasm_i8x16_const_splat(3), four_times = wasm_i8x16_const_splat(12);
  for (int at = 0; at < 64; at += 8) {
    v128_t pairs[Tokens][4];
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      BN_UNROLL for (int j = 0; j < 4; ++j) pairs[t][j] = wasm_i16x8_const_splat(0);
    }
    for (int32_t c = 0; c < 4 * quads; c += 2) {
      const v128_t left = wasm_v128_load64_zero(columns[c] + line + at);
      const v128_t right = wasm_v128_load64_zero(columns[c + 1] + line + at);
      const v128_t low = wasm_i8x16_shuffle(left, right, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const v128_t high = wasm_u16x8_shr(low, 4);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const v128_t x = wasm_v128_load16_splat(values + t * values_stride + c);
        pairs[t][0] = wasm_i16x8_add(pairs[t][0], bn_dot_pairs(wasm_v128_and(low, once), x));
        pairs[t][1] = wasm_i16x8_add(pairs[t][1], bn_dot_pairs(wasm_v128_and(low, four_times), x));
        pairs[t][2] = wasm_i16x8_add(pairs[t][2], bn_dot_pairs(wasm_v128_and(high, once), x));
        pairs[t][3] = wasm_i16x8_add(pairs[t][3], bn_dot_pairs(wasm_v128_and(high, four_times), x));
      }
    }
    // Rows 4L to 4L + 3 of row groups 4h + j and 4h + 4 + j.
    int32_t *first = sums + at % 16 * 16 + at / 16 * 4;
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      BN_UNROLL for (int j = 0; j < 4; ++j) {
        int32_t *sum = first + t * stride + 16 * j;
        const v128_t rows = j % 2 ? wasm_i16x8_shr(pairs[t][j], 2) : pairs[t][j];
        wasm_v128_store(sum, wasm_i32x4_add(wasm_v128_load(sum), wasm_i32x4_extend_low_i16x8(rows)));
        wasm_v128_store(sum + 64, wasm_i32x4_add(wasm_v128_load(sum + 64), wasm_i32x4_extend_high_i16x8(rows)));
      }
    }
  }
}

static inline void bn_i2_columns_unpack(uint8_t *const *panels, int64_t stride, const uint8_t *weights,
                                        int64_t column_bytes, int32_t quads, int32_t group, int32_t count) {
  for (int32_t quad = 0; quad < quads; ++quad, weights += 4 * column_bytes) {
    for (int lane = 0; lane < 4; ++lane) {
      const auto codes = [=](int c) { return wasm_v128_load(weights + c * column_bytes + 16 * lane); };
      const bn_interleaved four = bn_interleave(codes(0), codes(1), codes(2), codes(3));
      for (int32_t g = 0; g < count; ++g) {
        const v128_t rows = bn_codes_at(four.rows[group / 4], (group + g) % 4);
        wasm_v128_store(panels[g] + quad * stride + 16 * lane, rows);
      }
    }
  }
}

static inline bn_i32x16 bn_load_sums(const int32_t *sums) {
  return {{wasm_v128_load(sums), wasm_v128_load(sums + 4), wasm_v128_load(sums + 8), wasm_v128_load(sums + 12)}};
}

static inline uint32_t bn_positive16(const float *values) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; i += 4) {
    const v128_t not_above = wasm_f32x4_le(wasm_v128_load(values + i), wasm_f32x4_const_splat(0.0f));
    bits |= (wasm_i32x4_bitmask(not_above) ^ 15u) << i;
  }
  return bits;
}

static inline uint32_t bn_nonzero16(const int8_t *values) {
  return wasm_i8x16_bitmask(wasm_i8x16_ne(wasm_v128_load(values), wasm_i8x16_const_splat(0)));
}

static inline int32_t bn_append16(int32_t *list, int32_t count, uint32_t bits, int32_t first) {
  for (int i = 0; i < 16; ++i) {
    list[count] = first + i;
    count += bits >> i & 1;
  }
  return count;
}
