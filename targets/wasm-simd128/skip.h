// Primitives for matrices that are read in part, on target `wasm-simd128`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "primitives.h"

// Pairs of products in int16: the sixteen of a block add up to 16 * 512 at most.
static inline int32_t bn_row_dot(const uint8_t *row, const int8_t *q, int32_t blocks) {
  v128_t total = wasm_i32x4_const_splat(0);
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    v128_t pairs = wasm_i16x8_const_splat(0);
    for (int i = 0; i < 64; i += 16) {
      const v128_t packed = wasm_v128_load(row + i);
      for (int j = 0; j < 4; ++j) {
        pairs = wasm_i16x8_add(pairs, bn_dot_pairs(bn_codes_at(packed, j), wasm_v128_load(q + 64 * j + i)));
      }
    }
    total = wasm_i32x4_add(total, wasm_i32x4_extadd_pairwise_i16x8(pairs));
  }
  return bn_i32_reduce_add(total);
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

// Four products added up, as int32. Pairs are added by a multiplication with ones: of an addition and the next one clang 22
// would make i32x4.relaxed_dot_i8x16_i7x16_add, which V8 11.3, that of Node 20, computes wrongly.
static inline v128_t bn_dot_fours(v128_t codes, v128_t x) {
  return wasm_i32x4_dot_i16x8(bn_dot_pairs(codes, x), wasm_i16x8_const_splat(1));
}

static inline void bn_columns_add(int32_t *sums, const uint8_t *const *columns, const int8_t *values) {
  const v128_t x = bn_load_quad(values);
  for (int lane = 0; lane < 4; ++lane) {
    const auto codes = [=](int c) { return wasm_v128_load(columns[c] + 16 * lane); };
    const bn_interleaved four = bn_interleave(codes(0), codes(1), codes(2), codes(3));
    for (int h = 0; h < 4; ++h) {
      for (int j = 0; j < 4; ++j) {
        int32_t *sum = sums + 16 * (4 * h + j) + 4 * lane;
        const v128_t products = bn_dot_fours(bn_codes_at(four.rows[h], j), x);
        wasm_v128_store(sum, wasm_i32x4_add(wasm_v128_load(sum), products));
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
