// Primitives for matrices that are read in part, on target `x86-avx2`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

static inline __m256i bn_load32(const int8_t *p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)); }

// Codes at bits 2j.
static inline __m256i bn_codes_at(__m256i packed, int j) {
  return _mm256_and_si256(_mm256_srli_epi16(packed, 2 * j), _mm256_set1_epi8(0x03));
}

// Pairs of products in int16: the eight of a block add up to 8 * 512 at most.
template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  __m256i total[Tokens];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) total[t] = _mm256_setzero_si256();
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    const __m256i low = bn_load32(row), high = bn_load32(row + 32);
    __m256i pairs[Tokens];
    BN_UNROLL for (int t = 0; t < Tokens; ++t) pairs[t] = _mm256_setzero_si256();
    BN_UNROLL for (int j = 0; j < 4; ++j) {
      const __m256i left = bn_codes_at(low, j), right = bn_codes_at(high, j);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const int8_t *x = q + t * stride + 64 * j;
        pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(left, bn_load32(x)));
        pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(right, bn_load32(x + 32)));
      }
    }
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      total[t] = _mm256_add_epi32(total[t], _mm256_madd_epi16(pairs[t], _mm256_set1_epi16(1)));
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(total[t]), _mm256_extracti128_si256(total[t], 1));
    const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    sums[t] = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
  }
}

static inline void bn_i2_rows_unpack(uint8_t *panel, int64_t stride, const uint8_t *block, int64_t row_bytes) {
  for (int dword = 0; dword < 16; ++dword) {
    alignas(32) uint8_t codes[64];
    for (int r = 0; r < 16; ++r) std::memcpy(codes + 4 * r, block + r * row_bytes + 4 * dword, 4);
    const __m256i low = bn_load32(codes), high = bn_load32(codes + 32);
    for (int j = 0; j < 4; ++j) {
      uint8_t *quad = panel + (16 * j + dword) * stride;
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(quad), bn_codes_at(low, j));
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(quad + 32), bn_codes_at(high, j));
    }
  }
}

// Pairs of products in int16: those of eight quads add up to 8 * 512 at most.
template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  const __m256i ones = _mm256_set1_epi16(1);
  for (int half = 0; half < 2; ++half, line += 32) {
    __m256i rows[8][4]; // of each quad, by h
    for (int32_t quad = 0; quad < quads; ++quad) {
      const uint8_t *const *four = columns + 4 * quad;
      const __m256i column0 = bn_load32(four[0] + line), column1 = bn_load32(four[1] + line);
      const __m256i column2 = bn_load32(four[2] + line), column3 = bn_load32(four[3] + line);
      const __m256i low01 = _mm256_unpacklo_epi8(column0, column1), high01 = _mm256_unpackhi_epi8(column0, column1);
      const __m256i low23 = _mm256_unpacklo_epi8(column2, column3), high23 = _mm256_unpackhi_epi8(column2, column3);
      rows[quad][0] = _mm256_unpacklo_epi16(low01, low23);
      rows[quad][1] = _mm256_unpackhi_epi16(low01, low23);
      rows[quad][2] = _mm256_unpacklo_epi16(high01, high23);
      rows[quad][3] = _mm256_unpackhi_epi16(high01, high23);
    }
    for (int h = 0; h < 4; ++h) {
      BN_UNROLL for (int j = 0; j < 4; ++j) {
        __m256i pairs[Tokens];
        BN_UNROLL for (int t = 0; t < Tokens; ++t) pairs[t] = _mm256_setzero_si256();
        for (int32_t quad = 0; quad < quads; ++quad) {
          const __m256i codes = bn_codes_at(rows[quad][h], j);
          BN_UNROLL for (int t = 0; t < Tokens; ++t) {
            const __m256i x = bn_broadcast_quad(values + t * values_stride + 4 * quad);
            pairs[t] = _mm256_add_epi16(pairs[t], _mm256_maddubs_epi16(codes, x));
          }
        }
        BN_UNROLL for (int t = 0; t < Tokens; ++t) {
          __m256i *sum = reinterpret_cast<__m256i *>(sums + t * stride + 16 * (4 * h + j) + 8 * half);
          _mm256_storeu_si256(sum, _mm256_add_epi32(_mm256_loadu_si256(sum), _mm256_madd_epi16(pairs[t], ones)));
        }
      }
    }
  }
}

// Of one column: the four dwords that have a row group's codes, rows 4L to 4L + 3 in dword L.
static inline __m128i bn_column_rows(const uint8_t *column, int32_t group) {
  int32_t dwords[4];
  for (int lane = 0; lane < 4; ++lane) std::memcpy(dwords + lane, column + 16 * lane + group / 4 * 4, 4);
  return _mm_loadu_si128(reinterpret_cast<const __m128i *>(dwords));
}

static inline void bn_i2_columns_unpack(uint8_t *const *panels, int64_t stride, const uint8_t *weights,
                                        int64_t column_bytes, int32_t quads, int32_t group, int32_t count) {
  const __m256i mask = _mm256_set1_epi8(0x03);
  for (int32_t quad = 0; quad < quads; ++quad, weights += 4 * column_bytes) {
    __m128i codes[4];
    for (int c = 0; c < 4; ++c) codes[c] = bn_column_rows(weights + c * column_bytes, group);
    const __m128i low01 = _mm_unpacklo_epi8(codes[0], codes[1]), high01 = _mm_unpackhi_epi8(codes[0], codes[1]);
    const __m128i low23 = _mm_unpacklo_epi8(codes[2], codes[3]), high23 = _mm_unpackhi_epi8(codes[2], codes[3]);
    const __m256i first = _mm256_set_m128i(_mm_unpackhi_epi16(low01, low23), _mm_unpacklo_epi16(low01, low23));
    const __m256i second = _mm256_set_m128i(_mm_unpackhi_epi16(high01, high23), _mm_unpacklo_epi16(high01, high23));
    for (int32_t g = 0; g < count; ++g) {
      const __m128i shift = _mm_cvtsi32_si128((group + g) % 4 * 2);
      __m256i *out = reinterpret_cast<__m256i *>(panels[g] + quad * stride);
      _mm256_storeu_si256(out, _mm256_and_si256(_mm256_srl_epi16(first, shift), mask));
      _mm256_storeu_si256(out + 1, _mm256_and_si256(_mm256_srl_epi16(second, shift), mask));
    }
  }
}

static inline bn_i32x16 bn_load_sums(const int32_t *sums) {
  const __m256i *halves = reinterpret_cast<const __m256i *>(sums);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}

static inline uint32_t bn_positive16(const float *values) {
  const auto bits = [](const float *eight) {
    const __m256 positive = _mm256_cmp_ps(_mm256_loadu_ps(eight), _mm256_setzero_ps(), _CMP_NLE_UQ);
    return static_cast<uint32_t>(_mm256_movemask_ps(positive));
  };
  return bits(values) | bits(values + 8) << 8;
}

static inline uint32_t bn_nonzero16(const int8_t *values) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i *>(values));
  return 0xffffu ^ static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_setzero_si128())));
}

static inline int32_t bn_append16(int32_t *list, int32_t count, uint32_t bits, int32_t first) {
  for (int i = 0; i < 16; ++i) {
    list[count] = first + i;
    count += bits >> i & 1;
  }
  return count;
}
