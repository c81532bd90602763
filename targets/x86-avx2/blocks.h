// Blocks of the encodings that tables of rows come in, taken apart for target `x86-avx2`.
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

// nibble * scale - 8 * scale, rounded once: the products are exact, and so is the difference.
static inline void bn_q4_0_values(bn_f32 *values, const uint8_t *nibbles, bn_f32 scale) {
  const __m256 centre = _mm256_mul_ps(scale, _mm256_set1_ps(-8));
  for (int i = 0; i < 2; ++i) {
    const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(nibbles + 8 * i)));
    const __m256i low = _mm256_and_si256(pairs, _mm256_set1_epi32(15)), high = _mm256_srli_epi32(pairs, 4);
    values[i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low), scale, centre);
    values[2 + i] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), scale, centre);
  }
}

static inline void bn_q6_k_unpack(int8_t *values, const uint8_t *block) {
  const __m256i nibble = _mm256_set1_epi8(15), pair = _mm256_set1_epi8(48), centre = _mm256_set1_epi8(32);
  for (int half = 0; half < 2; ++half) {
    const __m256i low = bn_load32(block + half * 64), next = bn_load32(block + half * 64 + 32);
    const __m256i high = bn_load32(block + 128 + half * 32);
    const __m256i quarters[4] = {
        _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(_mm256_slli_epi16(high, 4), pair)),
        _mm256_or_si256(_mm256_and_si256(next, nibble), _mm256_and_si256(_mm256_slli_epi16(high, 2), pair)),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), nibble), _mm256_and_si256(high, pair)),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(next, 4), nibble),
                        _mm256_and_si256(_mm256_srli_epi16(high, 2), pair))};
    for (int q = 0; q < 4; ++q) {
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(values + half * 128 + q * 32),
                          _mm256_sub_epi8(quarters[q], centre));
    }
  }
}

static inline void bn_q6_k_scales(float *scales, const uint8_t *p) {
  uint16_t half;
  std::memcpy(&half, p + 16, sizeof half);
  const bn_f32 scale = bn_set(_cvtsh_ss(half));
  for (int i = 0; i < 16; i += 8) {
    bn_store(scales + i, bn_mul(scale, bn_load_i8(reinterpret_cast<const int8_t *>(p + i))));
  }
}
