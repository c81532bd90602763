// Primitives of target `arm-neon`: 128-bit vectors, sdot for the dot products.
// What each must do is written in the header of target `ref`.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

// ---- ternary dot products -------------------------------------------------------------------------------------------

// Vector v holds rows 4v to 4v + 3.
struct bn_i32x16 {
  int32x4_t rows0, rows4, rows8, rows12;
};

static inline bn_i32x16 bn_i32x16_zero() {
  const int32x4_t zero = vdupq_n_s32(0);
  return {zero, zero, zero, zero};
}

static inline bn_i32x16 bn_i32x16_add(bn_i32x16 a, bn_i32x16 b) {
  return {vaddq_s32(a.rows0, b.rows0), vaddq_s32(a.rows4, b.rows4), vaddq_s32(a.rows8, b.rows8),
          vaddq_s32(a.rows12, b.rows12)};
}

static inline float32x4_t bn_scale_rows(int32x4_t sums, int32_t offset, float scale) {
  return vmulq_n_f32(vcvtq_f32_s32(vsubq_s32(sums, vdupq_n_s32(offset))), scale);
}

static inline void bn_store_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  vst1q_f32(y, bn_scale_rows(sums.rows0, offset, scale));
  vst1q_f32(y + 4, bn_scale_rows(sums.rows4, offset, scale));
  vst1q_f32(y + 8, bn_scale_rows(sums.rows8, offset, scale));
  vst1q_f32(y + 12, bn_scale_rows(sums.rows12, offset, scale));
}

static inline void bn_add_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  vst1q_f32(y, vaddq_f32(vld1q_f32(y), bn_scale_rows(sums.rows0, offset, scale)));
  vst1q_f32(y + 4, vaddq_f32(vld1q_f32(y + 4), bn_scale_rows(sums.rows4, offset, scale)));
  vst1q_f32(y + 8, vaddq_f32(vld1q_f32(y + 8), bn_scale_rows(sums.rows8, offset, scale)));
  vst1q_f32(y + 12, vaddq_f32(vld1q_f32(y + 12), bn_scale_rows(sums.rows12, offset, scale)));
}

typedef bn_i32x16 bn_gemv_sum;

static inline bn_gemv_sum bn_gemv_zero() { return bn_i32x16_zero(); }

// Four rows: their 16 bytes of codes against the 16 activations, one quad of which is a lane of x.
static inline int32x4_t bn_gemv_rows(int32x4_t sum, const uint8_t *codes, int8x16_t x) {
  const uint8x16_t packed = vld1q_u8(codes), mask = vdupq_n_u8(3);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(packed, mask)), x, 0);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 2), mask)), x, 1);
  sum = vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(packed, 4), mask)), x, 2);
  return vdotq_laneq_s32(sum, vreinterpretq_s8_u8(vshrq_n_u8(packed, 6)), x, 3);
}

static inline void bn_gemv_add(bn_gemv_sum &sum, const uint8_t *block, const int8_t *q) {
  const int8x16_t x = vld1q_s8(q);
  sum.rows0 = bn_gemv_rows(sum.rows0, block, x);
  sum.rows4 = bn_gemv_rows(sum.rows4, block + 16, x);
  sum.rows8 = bn_gemv_rows(sum.rows8, block + 32, x);
  sum.rows12 = bn_gemv_rows(sum.rows12, block + 48, x);
}

static inline bn_i32x16 bn_gemv_total(const bn_gemv_sum &sum) { return sum; }

static inline void bn_unpack_block(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const uint8x16_t mask = vdupq_n_u8(3);
  for (int i = 0; i < 64; i += 16) {
    const uint8x16_t codes = vld1q_u8(block + i);
    vst1q_u8(panel + i, vandq_u8(codes, mask));
    vst1q_u8(panel + stride + i, vandq_u8(vshrq_n_u8(codes, 2), mask));
    vst1q_u8(panel + 2 * stride + i, vandq_u8(vshrq_n_u8(codes, 4), mask));
    vst1q_u8(panel + 3 * stride + i, vshrq_n_u8(codes, 6));
  }
}

struct bn_u8x64 {
  int8x16_t rows0, rows4, rows8, rows12;
};
typedef int8x16_t bn_quad;
typedef bn_i32x16 bn_dot_sum;

static inline bn_u8x64 bn_load_panel(const uint8_t *panel) {
  const int8_t *codes = reinterpret_cast<const int8_t *>(panel);
  return {vld1q_s8(codes), vld1q_s8(codes + 16), vld1q_s8(codes + 32), vld1q_s8(codes + 48)};
}

static inline bn_quad bn_load_quad(const int8_t *q) {
  int32_t quad;
  std::memcpy(&quad, q, sizeof quad);
  return vreinterpretq_s8_s32(vdupq_n_s32(quad));
}

static inline bn_dot_sum bn_dot_zero() { return bn_i32x16_zero(); }

static inline void bn_dot_add(bn_dot_sum &sum, bn_u8x64 codes, bn_quad x) {
  sum.rows0 = vdotq_s32(sum.rows0, codes.rows0, x);
  sum.rows4 = vdotq_s32(sum.rows4, codes.rows4, x);
  sum.rows8 = vdotq_s32(sum.rows8, codes.rows8, x);
  sum.rows12 = vdotq_s32(sum.rows12, codes.rows12, x);
}

static inline bn_i32x16 bn_dot_total(const bn_dot_sum &sum) { return sum; }

#define BN_DOT_MACS 64

// ---- float32 vectors ------------------------------------------------------------------------------------------------

#define BN_LANES 4

typedef float32x4_t bn_f32;
typedef int32x4_t bn_i32;

static inline bn_f32 bn_load(const float *p) { return vld1q_f32(p); }
static inline void bn_store(float *p, bn_f32 v) { vst1q_f32(p, v); }
static inline bn_f32 bn_set(float v) { return vdupq_n_f32(v); }
static inline bn_f32 bn_add(bn_f32 a, bn_f32 b) { return vaddq_f32(a, b); }
static inline bn_f32 bn_sub(bn_f32 a, bn_f32 b) { return vsubq_f32(a, b); }
static inline bn_f32 bn_mul(bn_f32 a, bn_f32 b) { return vmulq_f32(a, b); }
static inline bn_f32 bn_div(bn_f32 a, bn_f32 b) { return vdivq_f32(a, b); }
static inline bn_f32 bn_max(bn_f32 a, bn_f32 b) { return vmaxq_f32(a, b); }
static inline bn_f32 bn_min(bn_f32 a, bn_f32 b) { return vminq_f32(a, b); }
static inline bn_f32 bn_abs(bn_f32 v) { return vabsq_f32(v); }
static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) { return vfmaq_f32(c, a, b); }
static inline float bn_reduce_add(bn_f32 v) {
  const float32x2_t sum = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(sum, 0) + vget_lane_f32(sum, 1);
}
static inline float bn_reduce_max(bn_f32 v) { return vmaxvq_f32(v); }
static inline bn_f32 bn_round(bn_f32 v) { return vrndnq_f32(v); }
static inline bn_f32 bn_ldexp(bn_f32 v, bn_f32 n) {
  const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
  return vmulq_f32(v, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

static inline bn_f32 bn_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline void bn_store_f16(uint16_t *p, bn_f32 v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
static inline bn_f32 bn_load_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
static inline bn_f32 bn_load_i8(const int8_t *p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four))))));
}

static inline bn_i32 bn_i32_zero() { return vdupq_n_s32(0); }
static inline bn_i32 bn_i32_add(bn_i32 a, bn_i32 b) { return vaddq_s32(a, b); }
static inline int32_t bn_i32_reduce_add(bn_i32 v) { return vaddvq_s32(v); }

static inline bn_i32 bn_quantise(int8_t *q, bn_f32 v) {
  const float32x4_t clamped = vminq_f32(vmaxq_f32(v, vdupq_n_f32(-128.0f)), vdupq_n_f32(127.0f));
  const int32x4_t value = vcvtnq_s32_f32(clamped);
  const int16x4_t words = vmovn_s32(value);
  const int32_t four = vget_lane_s32(vreinterpret_s32_s8(vmovn_s16(vcombine_s16(words, words))), 0);
  std::memcpy(q, &four, sizeof four);
  return value;
}

// ---- the machine ----------------------------------------------------------------------------------------------------

static inline void bn_pause() { __asm__ __volatile__("yield"); }
static inline void bn_prefetch(const void *p) { __builtin_prefetch(p); }

#define BN_AHEAD 1024

struct bn_fold {
  uint8x16_t value;
};
static inline bn_fold bn_fold_zero() { return {vdupq_n_u8(0)}; }
static inline void bn_fold_add(bn_fold &fold, const uint8_t *p) {
  const uint8x16_t low = veorq_u8(vld1q_u8(p), vld1q_u8(p + 16));
  const uint8x16_t high = veorq_u8(vld1q_u8(p + 32), vld1q_u8(p + 48));
  fold.value = veorq_u8(fold.value, veorq_u8(low, high));
}
static inline uint64_t bn_fold_value(const bn_fold &fold) {
  const uint64x2_t words = vreinterpretq_u64_u8(fold.value);
  return vgetq_lane_u64(words, 0) ^ vgetq_lane_u64(words, 1);
}
