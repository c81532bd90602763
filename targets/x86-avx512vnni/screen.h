// Primitives of the screened head, target `x86-avx512vnni`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i highs = _mm512_setzero_si512(), lows = _mm512_set1_epi32(centre);
  for (int i = 0; i < 4; ++i) {
    const __m512i both = _mm512_loadu_si512(codes + 64 * i);
    const __m512i first = _mm512_and_si512(both, mask), second = _mm512_and_si512(_mm512_srli_epi32(both, 4), mask);
    highs = _mm512_dpbusd_epi32(highs, first, bn_broadcast_quad(high + 8 * i));
    lows = _mm512_dpbusd_epi32(lows, first, bn_broadcast_quad(low + 8 * i));
    highs = _mm512_dpbusd_epi32(highs, second, bn_broadcast_quad(high + 8 * i + 4));
    lows = _mm512_dpbusd_epi32(lows, second, bn_broadcast_quad(low + 8 * i + 4));
  }
  const __m512i total = _mm512_add_epi32(_mm512_slli_epi32(highs, 8), lows);
  const __m512i u = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(factors)));
  sum.part[0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), _mm512_cvtepi32_ps(u), sum.part[0]);
}

// Sums of four columns are less than 2^15, so the lower halves of int32 lanes hold them, and the factors those of others.
// Two totals, so that one sum need not wait for the other.
static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  const __m512i zero = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
  const __m512i left = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const __m512i right = _mm512_add_epi32(left, _mm512_set1_epi32(2)), four = _mm512_set1_epi32(4);
  const auto sums = [=](int block) {
    uint64_t pair;
    std::memcpy(&pair, bits + block * 4, sizeof pair);
    const __m512i q = _mm512_loadu_si512(high + block * 32);
    return _mm512_dpbusd_epi32(zero, ones, _mm512_mask_sub_epi8(q, _knot_mask64(_cvtu64_mask64(pair)), zero, q));
  };
  __m512i total0 = zero, total1 = zero;
  for (int first = 0; first < blocks; first += 16) {
    const int count = blocks - first < 16 ? blocks - first : 16;
    const __mmask16 there = static_cast<__mmask16>((1u << count) - 1);
    const __m512i u = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(there, factors + first));
    __m512i even = left, odd = right;
    int block = first;
    for (; block + 2 < first + count; block += 4) {
      total0 = _mm512_dpwssd_epi32(total0, sums(block), _mm512_permutexvar_epi32(even, u));
      total1 = _mm512_dpwssd_epi32(total1, sums(block + 2), _mm512_permutexvar_epi32(odd, u));
      even = _mm512_add_epi32(even, four);
      odd = _mm512_add_epi32(odd, four);
    }
    if (block < first + count) {
      total0 = _mm512_dpwssd_epi32(total0, sums(block), _mm512_permutexvar_epi32(even, u));
    }
  }
  return _mm512_reduce_add_epi32(_mm512_add_epi32(total0, total1));
}
