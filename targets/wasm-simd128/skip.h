// Primitives for matrices that are read in part, on target `wasm-simd128`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Pairs of products in int16: the sixteen of a block add up to 16 * 512 at most.
template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  v128_t total[Tokens];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) total[t] = wasm_i32x4_const_splat(0);
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    v128_t pairs[Tokens];
    BN_UNROLL for (int t = 0; t < Tokens; ++t) pairs[t] = wasm_i16x8_const_splat(0);
    for (int i = 0; i < 64; i += 16) {
      const v128_t packed = wasm_v128_load(row + i);
      BN_UNROLL for (int j = 0; j < 4; ++j) {
        const v128_t codes = bn_codes_at(packed, j);
        BN_UNROLL for (int t = 0; t < Tokens; ++t) {
          pairs[t] = wasm_i16x8_add(pairs[t], bn_dot_pairs(codes, wasm_v128_load(q + t * stride + 64 * j + i)));
        }
      }
    }
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      total[t] = wasm_i32x4_add(total[t], wasm_i32x4_extadd_pairwise_i16x8(pairs[t]));
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) sums[t] = bn_i32_reduce_add(total[t]);
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

// Pairs of products in int16: those of eight quads add up to 8 * 512 at most. They are added up by a multiplication with
// ones: of an addition of products and the next one clang 22 would make i32x4.relaxed_dot_i8x16_i7x16_add, which V8 11.3,
// that of Node 20, computes wrongly.
template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  for (int lane = 0; lane < 4; ++lane) {
    bn_interleaved rows[8]; // of each quad
    for (int32_t quad = 0; quad < quads; ++quad) {
      const auto codes = [=](int c) { return wasm_v128_load(columns[4 * quad + c] + line + 16 * lane); };
      rows[quad] = bn_interleave(codes(0), codes(1), codes(2), codes(3));
    }
    for (int h = 0; h < 4; ++h) {
      for (int j = 0; j < 4; ++j) {
        v128_t pairs[Tokens];
        BN_UNROLL for (int t = 0; t < Tokens; ++t) pairs[t] = wasm_i16x8_const_splat(0);
        for (int32_t quad = 0; quad < quads; ++quad) {
          const v128_t codes = bn_codes_at(rows[quad].rows[h], j);
          BN_UNROLL for (int t = 0; t < Tokens; ++t) {
            pairs[t] = wasm_i16x8_add(pairs[t], bn_dot_pairs(codes, bn_load_quad(values + t * values_stride + 4 * quad)));
          }
        }
        BN_UNROLL for (int t = 0; t < Tokens; ++t) {
          int32_t *sum = sums + t * stride + 16 * (4 * h + j) + 4 * lane;
          const v128_t products = wasm_i32x4_dot_i16x8(pairs[t], wasm_i16x8_const_splat(1));
          wasm_v128_store(sum, wasm_i32x4_add(wasm_v128_load(sum), products));
        }
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
