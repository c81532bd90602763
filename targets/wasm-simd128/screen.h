// Primitives of the screened head, target `wasm-simd128`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Four rows of a block. Pairs of products in int16: a block adds at most 8 * 2 * 15 * 128 = 30720 to a lane.
struct bn_screen_pairs {
  v128_t highs, lows;

  void add(v128_t codes, v128_t high, v128_t low) {
    highs = wasm_i16x8_add(highs, bn_dot_pairs(codes, high));
    lows = wasm_i16x8_add(lows, bn_dot_pairs(codes, low));
  }

  v128_t total(int32_t centre) const {
    const v128_t high = wasm_i32x4_shl(wasm_i32x4_extadd_pairwise_i16x8(highs), 8);
    return wasm_i32x4_add(high, wasm_i32x4_add(wasm_i32x4_extadd_pairwise_i16x8(lows), wasm_i32x4_splat(centre)));
  }
};

// Eight rows at a time: registers hold their sums and what they are multiplied with.
static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  const v128_t mask = wasm_i8x16_const_splat(15);
  _Pragma("clang loop unroll(disable)") for (int v = 0; v < 4; v += 2) {
    bn_screen_pairs rows[2];
    BN_UNROLL for (bn_screen_pairs &four : rows) four.highs = four.lows = wasm_i16x8_const_splat(0);
    BN_UNROLL for (int i = 0; i < 4; ++i) {
      const v128_t both[2] = {wasm_v128_load(codes + 64 * i + 16 * v), wasm_v128_load(codes + 64 * i + 16 * v + 16)};
      BN_UNROLL for (int half = 0; half < 2; ++half) {
        const v128_t x = bn_load_quad(high + 8 * i + 4 * half), y = bn_load_quad(low + 8 * i + 4 * half);
        BN_UNROLL for (int r = 0; r < 2; ++r) {
          rows[r].add(wasm_v128_and(half ? wasm_u16x8_shr(both[r], 4) : both[r], mask), x, y);
        }
      }
    }
    const v128_t eight = wasm_u16x8_load8x8(factors + 4 * v);
    const v128_t u[2] = {wasm_u32x4_extend_low_u16x8(eight), wasm_u32x4_extend_high_u16x8(eight)};
    BN_UNROLL for (int r = 0; r < 2; ++r) {
      const v128_t total = wasm_f32x4_convert_i32x4(rows[r].total(centre));
      sum.part[v + r] = bn_fma(total, wasm_f32x4_convert_i32x4(u[r]), sum.part[v + r]);
    }
  }
}

static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  const v128_t select = wasm_i64x2_const_splat(static_cast<int64_t>(0x8040201008040201u));
  const v128_t byte_of[2] = {wasm_i8x16_const(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                             wasm_i8x16_const(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3)};
  v128_t total = wasm_i32x4_const_splat(0);
  for (int block = 0; block < blocks; ++block) {
    const v128_t four = wasm_v128_load32_splat(bits + block * 4);
    v128_t sums = wasm_i16x8_const_splat(0);
    BN_UNROLL for (int half = 0; half < 2; ++half) {
      // Byte i looks at bit i % 8 of byte i / 8.
      const v128_t off = wasm_i8x16_eq(wasm_v128_and(bn_look_up(four, byte_of[half]), select), wasm_i8x16_const_splat(0));
      const v128_t q = wasm_v128_load(high + block * 32 + half * 16);
      // -q is ~q + 1
      sums = wasm_i16x8_add(sums, wasm_i16x8_extadd_pairwise_i8x16(wasm_i8x16_sub(wasm_v128_xor(q, off), off)));
    }
    total = wasm_i32x4_add(total, wasm_i32x4_dot_i16x8(sums, wasm_i16x8_splat(factors[block])));
  }
  return bn_i32_reduce_add(total);
}
