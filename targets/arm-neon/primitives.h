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

static inline void bn_i2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
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

// ---- ternary table look-ups -----------------------------------------------------------------------------------------

// A sum v, |v| <= 384, is kept as two digits of a byte each, v = 25h + l with |l| <= 12 and |h| <= 15, so that eight of
// each add up in a byte. Then they are widened to int16: `low` holds rows 0 to 7, `high` rows 8 to 15.
struct bn_table_sum {
  int16x8_t low, high;
};

static inline bn_table_sum bn_table_zero() { return {vdupq_n_s16(0), vdupq_n_s16(0)}; }

static inline bn_i32x16 bn_table_total(const bn_table_sum &sum) {
  return {vmovl_s16(vget_low_s16(sum.low)), vmovl_high_s16(sum.low), vmovl_s16(vget_low_s16(sum.high)),
          vmovl_high_s16(sum.high)};
}

struct bn_digits {
  int8x16_t low, high;
};

// Eight look-ups' digits.
static inline void bn_add_digits(bn_table_sum &sum, bn_digits v) {
  const int8x16_t base = vdupq_n_s8(25);
  sum.low = vaddw_s8(vmlal_s8(sum.low, vget_low_s8(v.high), vget_low_s8(base)), vget_low_s8(v.low));
  sum.high = vaddw_high_s8(vmlal_high_s8(sum.high, v.high, base), v.low);
}

// Digits of 16 sums, entries 0 to 7 and 8 to 15 of a table.
static inline bn_digits bn_split(int16x8_t first, int16x8_t second) {
  const int16x8_t a = vqrdmulhq_n_s16(first, 1311), b = vqrdmulhq_n_s16(second, 1311); // 2^15 / 25
  return {vcombine_s8(vmovn_s16(vmlsq_n_s16(first, a, 25)), vmovn_s16(vmlsq_n_s16(second, b, 25))),
          vcombine_s8(vmovn_s16(a), vmovn_s16(b))};
}

// Index i of every row in the lane that `lane` is the first byte of.
static inline uint8x16_t bn_table_index(const uint8_t *lane, int i) {
  const uint8x16_t two = vld1q_u8(lane + i / 2 * 64);
  return i % 2 ? vshrq_n_u8(two, 4) : vandq_u8(two, vdupq_n_u8(15));
}

#define BN_TL1_TABLE 1024
#define BN_TL2_TABLE 2048

static inline void bn_tl1_tables(uint8_t *table, const int8_t *q) {
  // weights of a pair, for indices 0 to 7; index 8 is the negative of index 0
  alignas(16) static const int16_t kA[8] = {-1, -1, -1, 0, 0, 0, 1, 1}, kB[8] = {-1, 0, 1, -1, 0, 1, -1, 0};
  const int16x8_t a = vld1q_s16(kA), b = vld1q_s16(kB);
  int8_t *digits = reinterpret_cast<int8_t *>(table);
  for (int pair = 0; pair < 32; ++pair) {
    const int16x8_t sums = vmlaq_n_s16(vmulq_n_s16(a, q[2 * pair]), b, q[2 * pair + 1]);
    const bn_digits split = bn_split(sums, vnegq_s16(sums));
    vst1q_s8(digits + 32 * pair, split.low);
    vst1q_s8(digits + 32 * pair + 16, split.high);
  }
}

static inline void bn_tl1_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  const int8_t *tables = reinterpret_cast<const int8_t *>(table);
  for (int j = 0; j < 4; ++j) {
    bn_digits digits = {vdupq_n_s8(0), vdupq_n_s8(0)};
    for (int i = 0; i < 8; ++i) {
      const uint8x16_t index = bn_table_index(block + 16 * j, i);
      const int8_t *pair = tables + 32 * (8 * j + i);
      digits.low = vaddq_s8(digits.low, vqtbl1q_s8(vld1q_s8(pair), index));
      digits.high = vaddq_s8(digits.high, vqtbl1q_s8(vld1q_s8(pair + 16), index));
    }
    bn_add_digits(sum, digits);
  }
}

static inline void bn_tl1_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  alignas(16) static const uint8_t kA[16] = {0, 0, 0, 1, 1, 1, 2, 2, 2}, kB[16] = {0, 1, 2, 0, 1, 2, 0, 1, 2};
  const uint8x16_t a = vld1q_u8(kA), b = vld1q_u8(kB);
  for (int quad = 0; quad < 16; ++quad) {
    const uint8_t *lane = block + quad / 4 * 16;
    const uint8x16_t left = bn_table_index(lane, quad % 4 * 2), right = bn_table_index(lane, quad % 4 * 2 + 1);
    vst4q_u8(panel + quad * stride,
             {{vqtbl1q_u8(a, left), vqtbl1q_u8(b, left), vqtbl1q_u8(a, right), vqtbl1q_u8(b, right)}});
  }
}

// A triple's digits are followed by those of the negative sums, so that the sign is one more bit of the index.
static inline void bn_tl2_tables(uint8_t *table, const int8_t *q) {
  // weights of a triple, for every index
  alignas(16) static const int16_t kA[16] = {0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  alignas(16) static const int16_t kB[16] = {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1};
  alignas(16) static const int16_t kC[16] = {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1};
  const int16x8_t a0 = vld1q_s16(kA), a8 = vld1q_s16(kA + 8), b0 = vld1q_s16(kB), b8 = vld1q_s16(kB + 8);
  const int16x8_t c0 = vld1q_s16(kC), c8 = vld1q_s16(kC + 8);
  int8_t *digits = reinterpret_cast<int8_t *>(table);
  for (int triple = 0; triple < 32; ++triple) {
    const int16_t x = q[3 * triple], y = q[3 * triple + 1], z = q[3 * triple + 2];
    const bn_digits split = bn_split(vmlaq_n_s16(vmlaq_n_s16(vmulq_n_s16(a0, x), b0, y), c0, z),
                                     vmlaq_n_s16(vmlaq_n_s16(vmulq_n_s16(a8, x), b8, y), c8, z));
    vst1q_s8(digits + 64 * triple, split.low);
    vst1q_s8(digits + 64 * triple + 16, vnegq_s8(split.low));
    vst1q_s8(digits + 64 * triple + 32, split.high);
    vst1q_s8(digits + 64 * triple + 48, vnegq_s8(split.high));
  }
}

// Index i with its sign as bit 4.
static inline uint8x16_t bn_tl2_index(const uint8_t *lane, uint8x16_t signs, int i) {
  const uint8x16_t shifted = vshlq_u8(signs, vdupq_n_s8(static_cast<int8_t>(4 - i)));
  return vbslq_u8(vdupq_n_u8(16), shifted, bn_table_index(lane, i));
}

static inline void bn_tl2_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  const int8_t *tables = reinterpret_cast<const int8_t *>(table);
  for (int j = 0; j < 4; ++j) {
    const uint8x16_t signs = vld1q_u8(block + 256 + 16 * j);
    bn_digits digits = {vdupq_n_s8(0), vdupq_n_s8(0)};
    for (int i = 0; i < 8; ++i) {
      const uint8x16_t index = bn_tl2_index(block + 16 * j, signs, i);
      const int8_t *triple = tables + 64 * (8 * j + i);
      digits.low = vaddq_s8(digits.low, vqtbl2q_s8(vld1q_s8_x2(triple), index));
      digits.high = vaddq_s8(digits.high, vqtbl2q_s8(vld1q_s8_x2(triple + 32), index));
    }
    bn_add_digits(sum, digits);
  }
}

static inline void bn_tl2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  // weight + 1 of a triple, for every index with its sign
  alignas(16) static const uint8_t kCodes[3][32] = {
      {1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1},
      {1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 2, 2, 2, 1, 1, 1, 0, 0, 0, 1, 1},
      {1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 1, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1}};
  for (int j = 0; j < 4; ++j) {
    const uint8x16_t signs = vld1q_u8(block + 256 + 16 * j);
    uint8x16_t columns[24];
    for (int i = 0; i < 8; ++i) {
      const uint8x16_t index = bn_tl2_index(block + 16 * j, signs, i);
      for (int c = 0; c < 3; ++c) columns[3 * i + c] = vqtbl2q_u8(vld1q_u8_x2(kCodes[c]), index);
    }
    for (int quad = 0; quad < 6; ++quad) {
      const uint8x16_t *four = columns + 4 * quad;
      vst4q_u8(panel + (6 * j + quad) * stride, {{four[0], four[1], four[2], four[3]}});
    }
  }
}

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
static inline void bn_prefetch_far(const void *p) { __builtin_prefetch(p, 0, 2); }
static inline void bn_prefetch_write(void *p) { __builtin_prefetch(p, 1); }

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
