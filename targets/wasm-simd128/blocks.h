// Blocks of the encodings that tables of rows come in, taken apart for target `wasm-simd128`.
// What each function must do is written in the header of target `ref`.
#pragma once

#include "primitives.h"

static inline void bn_block_scales(float *scales, const uint8_t *p, int64_t stride, int count) {
  for (int i = 0; i < count; i += 4) {
    uint16_t halves[4] = {};
    float four[4];
    const int some = count - i < 4 ? count - i : 4;
    for (int j = 0; j < some; ++j) std::memcpy(halves + j, p + (i + j) * stride, sizeof(uint16_t));
    bn_store(four, bn_load_f16(halves));
    for (int j = 0; j < some; ++j) scales[i + j] = four[j];
  }
}

// Four bytes, less 8, as float32, times a scale.
static inline bn_f32 bn_q4_0_four(v128_t words, bn_f32 scale) {
  return wasm_f32x4_mul(wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(words)), scale);
}

static inline void bn_q4_0_values(bn_f32 *values, const uint8_t *nibbles, bn_f32 scale) {
  const v128_t both = wasm_v128_load(nibbles), mask = wasm_i8x16_const_splat(15), centre = wasm_i8x16_const_splat(8);
  const v128_t halves[2] = {wasm_v128_and(both, mask), wasm_v128_and(wasm_u16x8_shr(both, 4), mask)};
  for (int i = 0; i < 2; ++i) {
    const v128_t centred = wasm_i8x16_sub(halves[i], centre);
    const v128_t low = wasm_i16x8_extend_low_i8x16(centred), high = wasm_i16x8_extend_high_i8x16(centred);
    values[4 * i] = bn_q4_0_four(low, scale);
    values[4 * i + 1] = bn_q4_0_four(wasm_i64x2_shuffle(low, low, 1, 1), scale);
    values[4 * i + 2] = bn_q4_0_four(high, scale);
    values[4 * i + 3] = bn_q4_0_four(wasm_i64x2_shuffle(high, high, 1, 1), scale);
  }
}

static inline void bn_q6_k_unpack(int8_t *values, const uint8_t *block) {
  const v128_t nibble = wasm_i8x16_const_splat(15), pair = wasm_i8x16_const_splat(48);
  const v128_t centre = wasm_i8x16_const_splat(32);
  const auto store = [=](int8_t *to, v128_t low, v128_t high) {
    const v128_t value = wasm_v128_or(wasm_v128_and(low, nibble), wasm_v128_and(high, pair));
    wasm_v128_store(to, wasm_i8x16_sub(value, centre));
  };
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; i += 16) {
      const v128_t low = wasm_v128_load(block + half * 64 + i), next = wasm_v128_load(block + half * 64 + 32 + i);
      const v128_t high = wasm_v128_load(block + 128 + half * 32 + i);
      int8_t *v = values + half * 128 + i;
      store(v, low, wasm_i16x8_shl(high, 4));
      store(v + 32, next, wasm_i16x8_shl(high, 2));
      store(v + 64, wasm_u16x8_shr(low, 4), high);
      store(v + 96, wasm_u16x8_shr(next, 4), wasm_u16x8_shr(high, 2));
    }
  }
}

static inline void bn_q6_k_scales(float *scales, const uint8_t *p) {
  float scale;
  bn_block_scales(&scale, p + 16, 2, 1);
  for (int i = 0; i < 16; i += 4) {
    bn_store(scales + i, bn_mul(bn_set(scale), bn_load_i8(reinterpret_cast<const int8_t *>(p + i))));
  }
}
