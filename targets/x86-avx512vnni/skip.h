// Primitives for matrices that are read in part, on target `x86-avx512vnni`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  const __m512i mask = _mm512_set1_epi8(0x03);
  bn_gemv_sum sum[Tokens];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[t] = bn_gemv_zero();
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    const __m512i codes = _mm512_loadu_si512(row);
    const auto part = [codes, mask](int j) { return _mm512_and_si512(codes, _mm512_slli_epi32(mask, 2 * j)); };
    const __m512i part0 = part(0), part1 = part(1), part2 = part(2), part3 = part(3);
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      const int8_t *x = q + t * stride;
      sum[t].quad0 = _mm512_dpbusd_epi32(sum[t].quad0, part0, _mm512_loadu_si512(x));
      sum[t].quad1 = _mm512_dpbusd_epi32(sum[t].quad1, part1, _mm512_loadu_si512(x + 64));
      sum[t].quad2 = _mm512_dpbusd_epi32(sum[t].quad2, part2, _mm512_loadu_si512(x + 128));
      sum[t].quad3 = _mm512_dpbusd_epi32(sum[t].quad3, part3, _mm512_loadu_si512(x + 192));
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) sums[t] = _mm512_reduce_add_epi32(bn_gemv_total(sum[t]).rows);
}

static inline void bn_i2_rows_unpack(uint8_t *panel, int64_t stride, const uint8_t *block, int64_t row_bytes) {
  // four[a][e]: lane L has the dwords 4L + e of rows 4a to 4a + 3
  __m512i four[4][4];
  for (int a = 0; a < 4; ++a) {
    const uint8_t *rows = block + 4 * a * row_bytes;
    const __m512i row0 = _mm512_loadu_si512(rows), row1 = _mm512_loadu_si512(rows + row_bytes);
    const __m512i row2 = _mm512_loadu_si512(rows + 2 * row_bytes), row3 = _mm512_loadu_si512(rows + 3 * row_bytes);
    const __m512i low01 = _mm512_unpacklo_epi32(row0, row1), high01 = _mm512_unpackhi_epi32(row0, row1);
    const __m512i low23 = _mm512_unpacklo_epi32(row2, row3), high23 = _mm512_unpackhi_epi32(row2, row3);
    four[a][0] = _mm512_unpacklo_epi64(low01, low23);
    four[a][1] = _mm512_unpackhi_epi64(low01, low23);
    four[a][2] = _mm512_unpacklo_epi64(high01, high23);
    four[a][3] = _mm512_unpackhi_epi64(high01, high23);
  }
  const __m512i mask = _mm512_set1_epi8(0x03);
  const auto store = [=](int dword, __m512i codes) {
    uint8_t *quad = panel + dword * stride;
    _mm512_storeu_si512(quad, _mm512_and_si512(codes, mask));
    _mm512_storeu_si512(quad + 16 * stride, _mm512_and_si512(_mm512_srli_epi32(codes, 2), mask));
    _mm512_storeu_si512(quad + 32 * stride, _mm512_and_si512(_mm512_srli_epi32(codes, 4), mask));
    _mm512_storeu_si512(quad + 48 * stride, _mm512_and_si512(_mm512_srli_epi32(codes, 6), mask));
  };
  for (int e = 0; e < 4; ++e) {
    const __m512i low01 = _mm512_shuffle_i32x4(four[0][e], four[1][e], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(four[0][e], four[1][e], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(four[2][e], four[3][e], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(four[2][e], four[3][e], 0xee);
    store(e, _mm512_shuffle_i32x4(low01, low23, 0x88));
    store(4 + e, _mm512_shuffle_i32x4(low01, low23, 0xdd));
    store(8 + e, _mm512_shuffle_i32x4(high01, high23, 0x88));
    store(12 + e, _mm512_shuffle_i32x4(high01, high23, 0xdd));
  }
}

// Dword 4L + d is byte 16L + 4h + d of four columns: row 4L + d of the row groups 4h + j, for all j.
static inline __m512i bn_column_rows(const __m512i *columns, int h) {
  const auto bytes = [h](__m512i a, __m512i b) {
    return h & 2 ? _mm512_unpackhi_epi8(a, b) : _mm512_unpacklo_epi8(a, b);
  };
  const __m512i left = bytes(columns[0], columns[1]), right = bytes(columns[2], columns[3]);
  return h & 1 ? _mm512_unpackhi_epi16(left, right) : _mm512_unpacklo_epi16(left, right);
}

template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  const __m512i mask = _mm512_set1_epi8(0x03);
  BN_UNROLL for (int h = 0; h < 4; ++h) {
    __m512i sum[Tokens][4];
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      BN_UNROLL for (int j = 0; j < 4; ++j) sum[t][j] = _mm512_loadu_si512(sums + t * stride + 16 * (4 * h + j));
    }
    for (int32_t quad = 0; quad < quads; ++quad) {
      const uint8_t *const *four = columns + 4 * quad;
      const __m512i codes[4] = {_mm512_loadu_si512(four[0] + line), _mm512_loadu_si512(four[1] + line),
                                _mm512_loadu_si512(four[2] + line), _mm512_loadu_si512(four[3] + line)};
      const __m512i rows = bn_column_rows(codes, h);
      BN_UNROLL for (int j = 0; j < 4; ++j) {
        const __m512i part = _mm512_and_si512(_mm512_srli_epi32(rows, 2 * j), mask);
        BN_UNROLL for (int t = 0; t < Tokens; ++t) {
          sum[t][j] = _mm512_dpbusd_epi32(sum[t][j], part, bn_broadcast_quad(values + t * values_stride + 4 * quad));
        }
      }
    }
    BN_UNROLL for (int t = 0; t < Tokens; ++t) {
      BN_UNROLL for (int j = 0; j < 4; ++j) _mm512_storeu_si512(sums + t * stride + 16 * (4 * h + j), sum[t][j]);
    }
  }
}

template <int H>
static inline void bn_unpack_rows(uint8_t *const *panels, int64_t stride, const uint8_t *weights, int64_t column_bytes,
                                  int32_t quads, int32_t group, int32_t count) {
  constexpr int kAhead = 8; // quads
  const __m512i mask = _mm512_set1_epi8(0x03);
  const __m128i first = _mm_cvtsi32_si128(group % 4 * 2), two = _mm_cvtsi32_si128(2);
  for (int32_t quad = 0; quad < quads; ++quad, weights += 4 * column_bytes) {
    __m512i columns[4];
    for (int c = 0; c < 4; ++c) {
      columns[c] = _mm512_loadu_si512(weights + c * column_bytes);
      bn_prefetch(weights + (4 * kAhead + c) * column_bytes);
    }
    __m512i rows = _mm512_srl_epi32(bn_column_rows(columns, H), first);
    for (int32_t g = 0; g < count; ++g, rows = _mm512_srl_epi32(rows, two)) {
      _mm512_storeu_si512(panels[g] + quad * stride, _mm512_and_si512(rows, mask));
    }
  }
}

static inline void bn_i2_columns_unpack(uint8_t *const *panels, int64_t stride, const uint8_t *weights,
                                        int64_t column_bytes, int32_t quads, int32_t group, int32_t count) {
  switch (group / 4) {
  case 0: return bn_unpack_rows<0>(panels, stride, weights, column_bytes, quads, group, count);
  case 1: return bn_unpack_rows<1>(panels, stride, weights, column_bytes, quads, group, count);
  case 2: return bn_unpack_rows<2>(panels, stride, weights, column_bytes, quads, group, count);
  default: return bn_unpack_rows<3>(panels, stride, weights, column_bytes, quads, group, count);
  }
}

static inline bn_i32x16 bn_load_sums(const int32_t *sums) { return {_mm512_loadu_si512(sums)}; }

static inline uint32_t bn_positive16(const float *values) {
  return _mm512_cmp_ps_mask(_mm512_loadu_ps(values), _mm512_setzero_ps(), _CMP_NLE_UQ);
}

static inline uint32_t bn_nonzero16(const int8_t *values) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i *>(values));
  return _mm_test_epi8_mask(v, v);
}

static inline int32_t bn_append16(int32_t *list, int32_t count, uint32_t bits, int32_t first) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i all = _mm512_add_epi32(lanes, _mm512_set1_epi32(first));
  _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(static_cast<__mmask16>(bits), all));
  return count + __builtin_popcount(bits);
}
