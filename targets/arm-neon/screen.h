// Primitives of the screened head, target `arm-neon`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Four rows of a block.
static inline float32x4_t bn_screen_rows(float32x4_t sum, const uint8_t *codes, uint16x4_t factors, const int8_t *high,
                                         const int8_t *low, int32_t centre) {
  const uint8x16_t mask = vdupq_n_u8(15);
  int32x4_t highs = vdupq_n_s32(0), lows = vdupq_n_s32(centre);
  for (int i = 0; i < 4; ++i) {
    const uint8x16_t both = vld1q_u8(codes + 64 * i);
    const int8x16_t first = vreinterpretq_s8_u8(vandq_u8(both, mask));
    const int8x16_t second = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
    const int8x8_t h = vld1_s8(high + 8 * i), l = vld1_s8(low + 8 * i);
    highs = vdotq_lane_s32(vdotq_lane_s32(highs, first, h, 0), second, h, 1);
    lows = vdotq_lane_s32(vdotq_lane_s32(lows, first, l, 0), second, l, 1);
  }
  const int32x4_t total = vaddq_s32(vshlq_n_s32(highs, 8), lows);
  return vfmaq_f32(sum, vcvtq_f32_s32(total), vcvtq_f32_u32(vmovl_u16(factors)));
}

static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  const uint8x16_t u = vld1q_u8(factors);
  const uint16x8_t first = vmovl_u8(vget_low_u8(u)), second = vmovl_u8(vget_high_u8(u));
  sum.part[0] = bn_screen_rows(sum.part[0], codes, vget_low_u16(first), high, low, centre);
  sum.part[1] = bn_screen_rows(sum.part[1], codes + 16, vget_high_u16(first), high, low, centre);
  sum.part[2] = bn_screen_rows(sum.part[2], codes + 32, vget_low_u16(second), high, low, centre);
  sum.part[3] = bn_screen_rows(sum.part[3], codes + 48, vget_high_u16(second), high, low, centre);
}

static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  const uint8x16_t select = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  int32x4_t total = vdupq_n_s32(0);
  for (int block = 0; block < blocks; ++block) {
    int32x4_t sums = vdupq_n_s32(0);
    for (int half = 0; half < 2; ++half) {
      const uint8_t *bytes = bits + block * 4 + half * 2;
      const uint8x16_t bit = vtstq_u8(vcombine_u8(vdup_n_u8(bytes[0]), vdup_n_u8(bytes[1])), select);
      // 1 or -1: what the bit makes of each column
      const int8x16_t sign = vreinterpretq_s8_u8(vorrq_u8(vmvnq_u8(bit), vdupq_n_u8(1)));
      sums = vdotq_s32(sums, vld1q_s8(high + block * 32 + half * 16), sign);
    }
    total = vmlaq_n_s32(total, sums, factors[block]);
  }
  return vaddvq_s32(total);
}
