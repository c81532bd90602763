// Blocks of the encodings that tables of rows come in, taken apart for target `x86-avx512vnni`.
// What each function must do is written in the header of target `ref`.
#pragma once

#include "primitives.h"

static inline void bn_block_scales(float *scales, const uint8_t *p, int64_t stride, int count) {
  const auto half = [p, stride](int i) {
    uint16_t bits;
    std::memcpy(&bits, p + i * stride, sizeof bits);
    return static_cast<uint64_t>(bits);
  };
  int i = 0;
  for (; i + 4 <= count; i += 4) {
    const uint64_t four = half(i) | half(i + 1) << 16 | half(i + 2) << 32 | half(i + 3) << 48;
    _mm_storeu_ps(scales + i, _mm_cvtph_ps(_mm_cvtsi64_si128(static_cast<int64_t>(four))));
  }
  for (; i < count; ++i) scales[i] = _cvtsh_ss(static_cast<uint16_t>(half(i)));
}

// A look-up goes by the lowest four bits of its index.
static inline void bn_q4_0_values(bn_f32 *values, const uint8_t *nibbles, bn_f32 scale) {
  const __m512 steps = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512 table = _mm512_mul_ps(steps, scale);
  const __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(nibbles)));
  values[0] = _mm512_permutexvar_ps(pairs, table);
  values[1] = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), table);
}

static inline void bn_q6_k_unpack(int8_t *values, const uint8_t *block) {
  constexpr int kMerge = 0xf8; // a | (b & c)
  const __m512i nibble = _mm512_set1_epi8(15), pair = _mm512_set1_epi8(48), centre = _mm512_set1_epi8(32);
  // bits that a pair moves to the left, to come to bits 4 and 5, in the first and in the second 32 values
  const __m512i first = _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2), second = _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2);
  for (int half = 0; half < 2; ++half) {
    const __m512i low = _mm512_loadu_si512(block + half * 64);
    const __m512i high =
        _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(block + 128 + half * 32)));
    const __m512i a = _mm512_ternarylogic_epi64(_mm512_and_si512(low, nibble), _mm512_sllv_epi64(high, first), pair,
                                                kMerge);
    const __m512i b = _mm512_ternarylogic_epi64(_mm512_and_si512(_mm512_srli_epi16(low, 4), nibble),
                                                _mm512_srlv_epi64(high, second), pair, kMerge);
    _mm512_storeu_si512(values + half * 128, _mm512_sub_epi8(a, centre));
    _mm512_storeu_si512(values + half * 128 + 64, _mm512_sub_epi8(b, centre));
  }
}

static inline void bn_q6_k_scales(float *scales, const uint8_t *p) {
  uint16_t half;
  std::memcpy(&half, p + 16, sizeof half);
  bn_store(scales, bn_mul(bn_set(_cvtsh_ss(half)), bn_load_i8(reinterpret_cast<const int8_t *>(p))));
}
