// Primitives of target `x86-avx2`: 256-bit vectors, vpmaddubsw for the dot products.
// What each must do is written in the header of target `ref`.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

// ---- ternary dot products -------------------------------------------------------------------------------------------

struct bn_i32x16 {
  __m256i low, high;
};

static inline bn_i32x16 bn_i32x16_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline bn_i32x16 bn_i32x16_add(bn_i32x16 a, bn_i32x16 b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}

static inline __m256 bn_scale_rows(__m256i sums, int32_t offset, float scale) {
  const __m256i centred = _mm256_sub_epi32(sums, _mm256_set1_epi32(offset));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(centred), _mm256_set1_ps(scale));
}

static inline void bn_store_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  _mm256_storeu_ps(y, bn_scale_rows(sums.low, offset, scale));
  _mm256_storeu_ps(y + 8, bn_scale_rows(sums.high, offset, scale));
}

static inline void bn_add_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  _mm256_storeu_ps(y, _mm256_add_ps(_mm256_loadu_ps(y), bn_scale_rows(sums.low, offset, scale)));
  _mm256_storeu_ps(y + 8, _mm256_add_ps(_mm256_loadu_ps(y + 8), bn_scale_rows(sums.high, offset, scale)));
}

static inline __m256i bn_broadcast_quad(const int8_t *q) {
  int32_t quad;
  std::memcpy(&quad, q, sizeof quad);
  return _mm256_set1_epi32(quad);
}

static inline __m256i bn_load32(const uint8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }

// Pairs of products in int16: one column quad adds at most 2 * 2 * 128 = 512 to a lane, so a chunk of the K loop may
// hold 63 quads. The template's chunk keeps to it.
struct bn_pairs {
  __m256i low, high;
};

static inline bn_pairs bn_pairs_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

static inline bn_i32x16 bn_pairs_total(const bn_pairs &sum) {
  const __m256i ones = _mm256_set1_epi16(1);
  return {_mm256_madd_epi16(sum.low, ones), _mm256_madd_epi16(sum.high, ones)};
}

typedef bn_pairs bn_gemv_sum;

static inline bn_gemv_sum bn_gemv_zero() { return bn_pairs_zero(); }

static inline void bn_gemv_add(bn_gemv_sum &sum, const uint8_t *block, const int8_t *q) {
  const __m256i mask = _mm256_set1_epi8(0x03);
  const __m256i low = bn_load32(block), high = bn_load32(block + 32);
  const __m256i x0 = bn_broadcast_quad(q), x1 = bn_broadcast_quad(q + 4);
  const __m256i x2 = bn_broadcast_quad(q + 8), x3 = bn_broadcast_quad(q + 12);

  const __m256i low01 = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(low, mask), x0),
                                         _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(low, 2), mask), x1));
  const __m256i low23 = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(low, 4), mask), x2),
                                         _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(low, 6), mask), x3));
  sum.low = _mm256_add_epi16(sum.low, _mm256_add_epi16(low01, low23));

  const __m256i high01 = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(high, mask), x0),
                                          _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(high, 2), mask), x1));
  const __m256i high23 =
      _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(high, 4), mask), x2),
                       _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16(high, 6), mask), x3));
  sum.high = _mm256_add_epi16(sum.high, _mm256_add_epi16(high01, high23));
}

static inline bn_i32x16 bn_gemv_total(const bn_gemv_sum &sum) { return bn_pairs_total(sum); }

static inline void bn_unpack_block(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m256i mask = _mm256_set1_epi8(0x03);
  for (int half = 0; half < 64; half += 32) {
    __m256i codes = bn_load32(block + half);
    for (int quad = 0; quad < 4; ++quad) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(panel + quad * stride + half), _mm256_and_si256(codes, mask));
      codes = _mm256_srli_epi16(codes, 2);
    }
  }
}

struct bn_u8x64 {
  __m256i low, high;
};
typedef __m256i bn_quad;
typedef bn_pairs bn_dot_sum;

static inline bn_u8x64 bn_load_panel(const uint8_t *panel) { return {bn_load32(panel), bn_load32(panel + 32)}; }
static inline bn_quad bn_load_quad(const int8_t *q) { return bn_broadcast_quad(q); }
static inline bn_dot_sum bn_dot_zero() { return bn_pairs_zero(); }

static inline void bn_dot_add(bn_dot_sum &sum, bn_u8x64 codes, bn_quad x) {
  sum.low = _mm256_add_epi16(sum.low, _mm256_maddubs_epi16(codes.low, x));
  sum.high = _mm256_add_epi16(sum.high, _mm256_maddubs_epi16(codes.high, x));
}

static inline bn_i32x16 bn_dot_total(const bn_dot_sum &sum) { return bn_pairs_total(sum); }

#define BN_DOT_MACS 64

// ---- float32 vectors ------------------------------------------------------------------------------------------------

#define BN_LANES 8

typedef __m256 bn_f32;
typedef __m256i bn_i32;

static inline bn_f32 bn_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void bn_store(float *p, bn_f32 v) { _mm256_storeu_ps(p, v); }
static inline bn_f32 bn_set(float v) { return _mm256_set1_ps(v); }
static inline bn_f32 bn_add(bn_f32 a, bn_f32 b) { return _mm256_add_ps(a, b); }
static inline bn_f32 bn_sub(bn_f32 a, bn_f32 b) { return _mm256_sub_ps(a, b); }
static inline bn_f32 bn_mul(bn_f32 a, bn_f32 b) { return _mm256_mul_ps(a, b); }
static inline bn_f32 bn_div(bn_f32 a, bn_f32 b) { return _mm256_div_ps(a, b); }
static inline bn_f32 bn_max(bn_f32 a, bn_f32 b) { return _mm256_max_ps(a, b); }
static inline bn_f32 bn_min(bn_f32 a, bn_f32 b) { return _mm256_min_ps(a, b); }
static inline bn_f32 bn_abs(bn_f32 v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) { return _mm256_fmadd_ps(a, b, c); }

static inline float bn_reduce_add(bn_f32 v) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
static inline float bn_reduce_max(bn_f32 v) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}

static inline bn_f32 bn_round(bn_f32 v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
static inline bn_f32 bn_ldexp(bn_f32 v, bn_f32 n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
}

static inline bn_f32 bn_load_f16(const uint16_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
static inline void bn_store_f16(uint16_t *p, bn_f32 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline bn_f32 bn_load_bf16(const uint16_t *p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
static inline bn_f32 bn_load_i8(const int8_t *p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(p))));
}

static inline bn_i32 bn_i32_zero() { return _mm256_setzero_si256(); }
static inline bn_i32 bn_i32_add(bn_i32 a, bn_i32 b) { return _mm256_add_epi32(a, b); }
static inline int32_t bn_i32_reduce_add(bn_i32 v) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}

static inline bn_i32 bn_quantise(int8_t *q, bn_f32 v) {
  const __m256 low = _mm256_set1_ps(-128.0f), high = _mm256_set1_ps(127.0f);
  const __m256i value = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, low), high));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i *>(q), _mm_packs_epi16(words, words));
  return value;
}

// ---- the machine ----------------------------------------------------------------------------------------------------

static inline void bn_pause() { _mm_pause(); }
static inline void bn_prefetch(const void *p) { _mm_prefetch(static_cast<const char *>(p), _MM_HINT_T0); }

#define BN_AHEAD 1024

struct bn_fold {
  __m256i value;
};
static inline bn_fold bn_fold_zero() { return {_mm256_setzero_si256()}; }
static inline void bn_fold_add(bn_fold &fold, const uint8_t *p) {
  fold.value = _mm256_xor_si256(fold.value, _mm256_xor_si256(bn_load32(p), bn_load32(p + 32)));
}
static inline uint64_t bn_fold_value(const bn_fold &fold) {
  alignas(32) uint64_t words[4];
  _mm256_store_si256(reinterpret_cast<__m256i *>(words), fold.value);
  return words[0] ^ words[1] ^ words[2] ^ words[3];
}
