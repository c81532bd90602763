// Primitives of the screened head, target `wasm-simd128`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Four rows of a block. Pairs of products in int16: a block adds at most 8 * 2 * 15 * 128 = 30720 to a lane.
static inline v128_t bn_screen_rows(v128_t sum, const uint8_t *codes, v128_t factors, const int8_t *high,
                                    const int8_t *low, int32_t centre) {
  const v128_t mask = wasm_i8x16_const_splat(15);
  v128_t highs = wasm_i16x8_const_splat(0), lows = highs;
  for (int i = 0; i < 4; ++i) {
    const v128_t both = wasm_v128_load(codes + 64 * i);
    const v128_t first = wasm_v128_and(both, mask), second = wasm_v128_and(wasm_u16x8_shr(both, 4), mask);
    highs = wasm_i16x8_add(highs, bn_dot_pairs(first, bn_load_quad(high + 8 * i)));
    lows = wasm_i16x8_add(lows, bn_dot_pairs(first, bn_load_quad(low + 8 * i)));
    highs = wasm_i16x8_add(highs, bn_dot_pairs(second, bn_load_quad(high + 8 * i + 4)));
    lows = wasm_i16x8_add(lows, bn_dot_pairs(second, bn_load_quad(low + 8 * i + 4)));
  }
  v128_t total = wasm_i32x4_shl(wasm_i32x4_extadd_pairwise_i16x8(highs), 8);
  total = wasm_i32x4_add(total, wasm_i32x4_add(wasm_i32x4_extadd_pairwise_i16x8(lows), wasm_i32x4_splat(centre)));
  return bn_fma(wasm_f32x4_convert_i32x4(total), wasm_f32x4_convert_i32x4(factors), sum);
}

static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  const v128_t u = wasm_v128_load(factors);
  const v128_t first = wasm_u16x8_extend_low_u8x16(u), second = wasm_u16x8_extend_high_u8x16(u);
  const auto rows = [=](v128_t part, int v, v128_t four) {
    return bn_screen_rows(part, codes + 16 * v, four, high, low, centre);
  };
  sum.part[0] = rows(sum.part[0], 0, wasm_u32x4_extend_low_u16x8(first));
  sum.part[1] = rows(sum.part[1], 1, wasm_u32x4_extend_high_u16x8(first));
  sum.part[2] = rows(sum.part[2], 2, wasm_u32x4_extend_low_u16x8(second));
  sum.part[3] = rows(sum.part[3], 3, wasm_u32x4_extend_high_u16x8(second));
}

static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  const v128_t select = wasm_i64x2_const_splat(static_cast<int64_t>(0x8040201008040201u));
  v128_t total = wasm_i32x4_const_splat(0);
  for (int block = 0; block < blocks; ++block) {
    v128_t sums = wasm_i16x8_const_splat(0);
    for (int half = 0; half < 2; ++half) {
      const uint8_t *bytes = bits + block * 4 + half * 2;
      // Byte i looks at bit i % 8 of byte i / 8.
      const v128_t spread = wasm_i64x2_replace_lane(wasm_i8x16_splat(static_cast<int8_t>(bytes[0])), 1,
                                                    bytes[1] * int64_t{0x0101010101010101});
      const v128_t off = wasm_i8x16_eq(wasm_v128_and(spread, select), wasm_i8x16_const_splat(0));
      const v128_t q = wasm_v128_load(high + block * 32 + half * 16);
      // -q is ~q + 1
      sums = wasm_i16x8_add(sums, wasm_i16x8_extadd_pairwise_i8x16(wasm_i8x16_sub(wasm_v128_xor(q, off), off)));
    }
    total = wasm_i32x4_add(total, wasm_i32x4_dot_i16x8(sums, wasm_i16x8_splat(factors[block])));
  }
  return bn_i32_reduce_add(total);
}
