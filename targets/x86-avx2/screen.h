// Primitives of the screened head, target `x86-avx2`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Eight rows of a block. Pairs of products in int16: a block adds at most 8 * 2 * 15 * 128 = 30720 to a lane.
static inline __m256 bn_screen_rows(__m256 sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                    const int8_t *low, int32_t centre) {
  const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  __m256i highs = _mm256_setzero_si256(), lows = highs;
  for (int i = 0; i < 4; ++i) {
    const __m256i both = bn_load32(codes + 64 * i);
    const __m256i first = _mm256_and_si256(both, mask), second = _mm256_and_si256(_mm256_srli_epi16(both, 4), mask);
    highs = _mm256_add_epi16(highs, _mm256_maddubs_epi16(first, bn_broadcast_quad(high + 8 * i)));
    lows = _mm256_add_epi16(lows, _mm256_maddubs_epi16(first, bn_broadcast_quad(low + 8 * i)));
    highs = _mm256_add_epi16(highs, _mm256_maddubs_epi16(second, bn_broadcast_quad(high + 8 * i + 4)));
    lows = _mm256_add_epi16(lows, _mm256_maddubs_epi16(second, bn_broadcast_quad(low + 8 * i + 4)));
  }
  __m256i total = _mm256_slli_epi32(_mm256_madd_epi16(highs, ones), 8);
  total = _mm256_add_epi32(total, _mm256_add_epi32(_mm256_madd_epi16(lows, ones), _mm256_set1_epi32(centre)));
  const __m256i u = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(factors)));
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(total), _mm256_cvtepi32_ps(u), sum);
}

static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  sum.part[0] = bn_screen_rows(sum.part[0], codes, factors, high, low, centre);
  sum.part[1] = bn_screen_rows(sum.part[1], codes + 32, factors + 8, high, low, centre);
}

static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  // Byte i of a block looks at bit i % 8 of byte i / 8.
  const __m256i spread = _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3,
                                          3, 3, 3, 3, 3);
  const __m256i select = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i ones = _mm256_set1_epi8(1);
  __m256i total = _mm256_setzero_si256();
  for (int block = 0; block < blocks; ++block) {
    int32_t word;
    std::memcpy(&word, bits + block * 4, sizeof word);
    const __m256i bit = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(word), spread), select);
    const __m256i off = _mm256_cmpeq_epi8(bit, _mm256_setzero_si256());
    const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(high + block * 32));
    const __m256i signed_q = _mm256_sign_epi8(q, _mm256_or_si256(off, ones));
    const __m256i sums = _mm256_maddubs_epi16(ones, signed_q);
    total = _mm256_add_epi32(total, _mm256_madd_epi16(sums, _mm256_set1_epi16(factors[block])));
  }
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(total), _mm256_extracti128_si256(total, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
}
