// Primitives of target `x86-avx512vnni`: 512-bit vectors, vpdpbusd for the dot products.
// What each must do is written in the header of target `ref`.
#pragma once

// GCC's own header trips over its undefined vectors (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <cstdint>
#include <cstring>

// ---- ternary dot products -------------------------------------------------------------------------------------------

struct bn_i32x16 {
  __m512i rows;
};

static inline bn_i32x16 bn_i32x16_zero() { return {_mm512_setzero_si512()}; }
static inline bn_i32x16 bn_i32x16_add(bn_i32x16 a, bn_i32x16 b) { return {_mm512_add_epi32(a.rows, b.rows)}; }

static inline __m512 bn_scale_rows(bn_i32x16 sums, int32_t offset, float scale) {
  const __m512i centred = _mm512_sub_epi32(sums.rows, _mm512_set1_epi32(offset));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(centred), _mm512_set1_ps(scale));
}

static inline void bn_store_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  _mm512_storeu_ps(y, bn_scale_rows(sums, offset, scale));
}

static inline void bn_add_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  _mm512_storeu_ps(y, _mm512_add_ps(_mm512_loadu_ps(y), bn_scale_rows(sums, offset, scale)));
}

static inline __m512i bn_broadcast_quad(const int8_t *q) {
  int32_t quad;
  std::memcpy(&quad, q, sizeof quad);
  return _mm512_set1_epi32(quad);
}

// Codes are masked where they stand, not shifted down, so quad g is summed 4^g times too large until the total.
struct bn_gemv_sum {
  __m512i quad0, quad1, quad2, quad3;
};

static inline bn_gemv_sum bn_gemv_zero() {
  const __m512i zero = _mm512_setzero_si512();
  return {zero, zero, zero, zero};
}

static inline void bn_gemv_add(bn_gemv_sum &sum, const uint8_t *block, const int8_t *q) {
  const __m512i codes = _mm512_loadu_si512(block);
  const __m512i mask = _mm512_set1_epi8(0x03);
  sum.quad0 = _mm512_dpbusd_epi32(sum.quad0, _mm512_and_si512(codes, mask), bn_broadcast_quad(q));
  sum.quad1 = _mm512_dpbusd_epi32(sum.quad1, _mm512_and_si512(codes, _mm512_slli_epi32(mask, 2)), bn_broadcast_quad(q + 4));
  sum.quad2 = _mm512_dpbusd_epi32(sum.quad2, _mm512_and_si512(codes, _mm512_slli_epi32(mask, 4)), bn_broadcast_quad(q + 8));
  sum.quad3 = _mm512_dpbusd_epi32(sum.quad3, _mm512_and_si512(codes, _mm512_slli_epi32(mask, 6)), bn_broadcast_quad(q + 12));
}

static inline bn_i32x16 bn_gemv_total(const bn_gemv_sum &sum) {
  const __m512i low = _mm512_add_epi32(sum.quad0, _mm512_srai_epi32(sum.quad1, 2));
  const __m512i high = _mm512_add_epi32(_mm512_srai_epi32(sum.quad2, 4), _mm512_srai_epi32(sum.quad3, 6));
  return {_mm512_add_epi32(low, high)};
}

static inline void bn_unpack_block(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m512i codes = _mm512_loadu_si512(block);
  const __m512i mask = _mm512_set1_epi8(0x03);
  _mm512_storeu_si512(panel, _mm512_and_si512(codes, mask));
  _mm512_storeu_si512(panel + stride, _mm512_and_si512(_mm512_srli_epi32(codes, 2), mask));
  _mm512_storeu_si512(panel + 2 * stride, _mm512_and_si512(_mm512_srli_epi32(codes, 4), mask));
  _mm512_storeu_si512(panel + 3 * stride, _mm512_and_si512(_mm512_srli_epi32(codes, 6), mask));
}

typedef __m512i bn_u8x64;
typedef __m512i bn_quad;
typedef bn_i32x16 bn_dot_sum;

static inline bn_u8x64 bn_load_panel(const uint8_t *panel) { return _mm512_loadu_si512(panel); }
static inline bn_quad bn_load_quad(const int8_t *q) { return bn_broadcast_quad(q); }
static inline bn_dot_sum bn_dot_zero() { return bn_i32x16_zero(); }

static inline void bn_dot_add(bn_dot_sum &sum, bn_u8x64 codes, bn_quad x) {
  sum.rows = _mm512_dpbusd_epi32(sum.rows, codes, x);
}

static inline bn_i32x16 bn_dot_total(const bn_dot_sum &sum) { return sum; }

#define BN_DOT_MACS 64

// ---- float32 vectors ------------------------------------------------------------------------------------------------

#define BN_LANES 16

typedef __m512 bn_f32;
typedef __m512i bn_i32;

static inline bn_f32 bn_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void bn_store(float *p, bn_f32 v) { _mm512_storeu_ps(p, v); }
static inline bn_f32 bn_set(float v) { return _mm512_set1_ps(v); }
static inline bn_f32 bn_add(bn_f32 a, bn_f32 b) { return _mm512_add_ps(a, b); }
static inline bn_f32 bn_sub(bn_f32 a, bn_f32 b) { return _mm512_sub_ps(a, b); }
static inline bn_f32 bn_mul(bn_f32 a, bn_f32 b) { return _mm512_mul_ps(a, b); }
static inline bn_f32 bn_div(bn_f32 a, bn_f32 b) { return _mm512_div_ps(a, b); }
static inline bn_f32 bn_max(bn_f32 a, bn_f32 b) { return _mm512_max_ps(a, b); }
static inline bn_f32 bn_min(bn_f32 a, bn_f32 b) { return _mm512_min_ps(a, b); }
static inline bn_f32 bn_abs(bn_f32 v) { return _mm512_abs_ps(v); }
static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline float bn_reduce_add(bn_f32 v) {
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), upper);
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
static inline float bn_reduce_max(bn_f32 v) { return _mm512_reduce_max_ps(v); }
static inline bn_f32 bn_round(bn_f32 v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT); }
static inline bn_f32 bn_ldexp(bn_f32 v, bn_f32 n) { return _mm512_scalef_ps(v, n); }

static inline bn_f32 bn_load_f16(const uint16_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}
static inline void bn_store_f16(uint16_t *p, bn_f32 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline bn_f32 bn_load_bf16(const uint16_t *p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline bn_f32 bn_load_i8(const int8_t *p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p))));
}

static inline bn_i32 bn_i32_zero() { return _mm512_setzero_si512(); }
static inline bn_i32 bn_i32_add(bn_i32 a, bn_i32 b) { return _mm512_add_epi32(a, b); }
static inline int32_t bn_i32_reduce_add(bn_i32 v) { return _mm512_reduce_add_epi32(v); }

static inline bn_i32 bn_quantise(int8_t *q, bn_f32 v) {
  const __m512 low = _mm512_set1_ps(-128.0f), high = _mm512_set1_ps(127.0f);
  const __m512i value = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, low), high));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(q), _mm512_cvtepi32_epi8(value));
  return value;
}

// ---- the machine ----------------------------------------------------------------------------------------------------

static inline void bn_pause() { _mm_pause(); }
static inline void bn_prefetch(const void *p) { _mm_prefetch(static_cast<const char *>(p), _MM_HINT_T0); }

#define BN_AHEAD 1024

struct bn_fold {
  __m512i value;
};
static inline bn_fold bn_fold_zero() { return {_mm512_setzero_si512()}; }
static inline void bn_fold_add(bn_fold &fold, const uint8_t *p) {
  fold.value = _mm512_xor_si512(fold.value, _mm512_loadu_si512(p));
}
static inline uint64_t bn_fold_value(const bn_fold &fold) {
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(fold.value));
}
