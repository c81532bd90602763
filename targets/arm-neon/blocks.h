// Blocks of the encodings that tables of rows come in, taken apart for target `arm-neon`.
// What each function must do is written in the header of target `ref`.
#pragma once

#include "primitives.h"

static inline void bn_block_scales(float *scales, const uint8_t *p, int64_t stride, int count) {
  for (int i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, p + i * stride, sizeof half);
    scales[i] = vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(half))), 0);
  }
}

// Sixteen int8 as float32, four by four.
static inline void bn_widen(float32x4_t *values, int8x16_t v) {
  const int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
  values[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
  values[1] = vcvtq_f32_s32(vmovl_high_s16(low));
  values[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
  values[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

static inline void bn_q4_0_values(bn_f32 *values, const uint8_t *nibbles, bn_f32 scale) {
  const uint8x16_t pairs = vld1q_u8(nibbles);
  const int8x16_t centre = vdupq_n_s8(8);
  bn_widen(values, vsubq_s8(vreinterpretq_s8_u8(vandq_u8(pairs, vdupq_n_u8(15))), centre));
  bn_widen(values + 4, vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(pairs, 4)), centre));
  for (int i = 0; i < 8; ++i) values[i] = vmulq_f32(values[i], scale);
}

static inline void bn_q6_k_unpack(int8_t *values, const uint8_t *block) {
  const uint8x16_t nibble = vdupq_n_u8(15), pair = vdupq_n_u8(48);
  const auto store = [](int8_t *p, uint8x16_t six) {
    vst1q_s8(p, vsubq_s8(vreinterpretq_s8_u8(six), vdupq_n_s8(32)));
  };
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; i += 16) {
      const uint8_t *p = block + half * 64 + i;
      const uint8x16_t low = vld1q_u8(p), next = vld1q_u8(p + 32), high = vld1q_u8(block + 128 + half * 32 + i);
      int8_t *v = values + half * 128 + i;
      store(v, vorrq_u8(vandq_u8(low, nibble), vandq_u8(vshlq_n_u8(high, 4), pair)));
      store(v + 32, vorrq_u8(vandq_u8(next, nibble), vandq_u8(vshlq_n_u8(high, 2), pair)));
      store(v + 64, vorrq_u8(vshrq_n_u8(low, 4), vandq_u8(high, pair)));
      store(v + 96, vorrq_u8(vshrq_n_u8(next, 4), vandq_u8(vshrq_n_u8(high, 2), pair)));
    }
  }
}

static inline void bn_q6_k_scales(float *scales, const uint8_t *p) {
  float scale;
  bn_block_scales(&scale, p + 16, 2, 1);
  float32x4_t values[4];
  bn_widen(values, vld1q_s8(reinterpret_cast<const int8_t *>(p)));
  for (int i = 0; i < 4; ++i) vst1q_f32(scales + 4 * i, vmulq_n_f32(values[i], scale));
}
