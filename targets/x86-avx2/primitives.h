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

static inline void bn_i2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
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

// ---- ternary table look-ups -----------------------------------------------------------------------------------------

// Each 128-bit lane looks up in tables of its own. A sum v, |v| <= 384, is kept as two digits of a byte each, v = 25h + l
// with |l| <= 12 and |h| <= 15, so that eight of each add up in a byte. Then they are widened to int16, even rows and odd
// ones.
struct bn_table_sum {
  __m256i even, odd;
};

static inline bn_table_sum bn_table_zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }

static inline __m128i bn_fold_lanes(__m256i v) {
  return _mm_add_epi16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

static inline bn_i32x16 bn_table_total(const bn_table_sum &sum) {
  const __m128i even = bn_fold_lanes(sum.even), odd = bn_fold_lanes(sum.odd);
  return {_mm256_cvtepi16_epi32(_mm_unpacklo_epi16(even, odd)), _mm256_cvtepi16_epi32(_mm_unpackhi_epi16(even, odd))};
}

// Eight look-ups' digits.
static inline void bn_add_digits(bn_table_sum &sum, __m256i low, __m256i high) {
  const __m256i even = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_set1_epi16(1), low),
                                        _mm256_maddubs_epi16(_mm256_set1_epi16(25), high));
  const __m256i odd = _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_set1_epi16(1 << 8), low),
                                       _mm256_maddubs_epi16(_mm256_set1_epi16(25 << 8), high));
  sum.even = _mm256_add_epi16(sum.even, even);
  sum.odd = _mm256_add_epi16(sum.odd, odd);
}

struct bn_digits {
  __m256i low, high;
};

static inline bn_digits bn_split(__m256i v) {
  const __m256i high = _mm256_mulhrs_epi16(v, _mm256_set1_epi16(1311)); // 2^15 / 25
  return {_mm256_sub_epi16(v, _mm256_mullo_epi16(high, _mm256_set1_epi16(25))), high};
}

static inline void bn_store32(uint8_t *p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), v); }

// A table for each lane, from entries 0 to 7 and 8 to 15: 32 bytes of low digits, then the high ones.
static inline void bn_store_tables(uint8_t *table, bn_digits first, bn_digits second) {
  bn_store32(table, _mm256_packs_epi16(first.low, second.low));
  bn_store32(table + 32, _mm256_packs_epi16(first.high, second.high));
}

static inline __m256i bn_look_up(const uint8_t *table, __m256i index) {
  return _mm256_shuffle_epi8(bn_load32(table), index);
}

// Index i of every row in two lanes, the second pair of them where `block` is 32 bytes further on.
static inline __m256i bn_table_index(const uint8_t *block, int i) {
  const __m256i two = bn_load32(block + i / 2 * 64);
  return _mm256_and_si256(i % 2 ? _mm256_srli_epi16(two, 4) : two, _mm256_set1_epi8(15));
}

// Codes of four columns in each lane, `columns[i]` being byte r for row r, go to `panel` as one quad a lane.
static inline void bn_store_quads(uint8_t *panel, int64_t stride, const __m256i *columns) {
  const __m256i low01 = _mm256_unpacklo_epi8(columns[0], columns[1]);
  const __m256i low23 = _mm256_unpacklo_epi8(columns[2], columns[3]);
  const __m256i high01 = _mm256_unpackhi_epi8(columns[0], columns[1]);
  const __m256i high23 = _mm256_unpackhi_epi8(columns[2], columns[3]);
  const __m256i rows0 = _mm256_unpacklo_epi16(low01, low23), rows4 = _mm256_unpackhi_epi16(low01, low23);
  const __m256i rows8 = _mm256_unpacklo_epi16(high01, high23), rows12 = _mm256_unpackhi_epi16(high01, high23);
  bn_store32(panel, _mm256_permute2x128_si256(rows0, rows4, 0x20));
  bn_store32(panel + 32, _mm256_permute2x128_si256(rows8, rows12, 0x20));
  bn_store32(panel + stride, _mm256_permute2x128_si256(rows0, rows4, 0x31));
  bn_store32(panel + stride + 32, _mm256_permute2x128_si256(rows8, rows12, 0x31));
}

// The tables of lanes 0 and 1 come first, then those of lanes 2 and 3.
#define BN_TL1_TABLE 1024
#define BN_TL2_TABLE 1024

// The same 16 bytes in both lanes.
static inline __m256i bn_lanes(__m128i v) { return _mm256_broadcastsi128_si256(v); }

static inline void bn_tl1_tables(uint8_t *table, const int8_t *q) {
  // weight + 1 of a pair, for indices 0 to 7; index 8 is the negative of index 0
  const __m256i codes = bn_lanes(_mm_setr_epi8(0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2, 2, 0, 2, 1));
  const __m256i zero = _mm256_setzero_si256();
  for (int half = 0; half < 2; ++half) {
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(q + 32 * half));
    for (int i = 0; i < 8; ++i) {
      const __m256i pair = _mm256_shuffle_epi8(all, _mm256_set1_epi16(static_cast<int16_t>(0x0100 + i * 0x0202)));
      const __m256i centre = _mm256_maddubs_epi16(_mm256_set1_epi8(1), pair);
      const bn_digits sums = bn_split(_mm256_sub_epi16(_mm256_maddubs_epi16(codes, pair), centre));
      const bn_digits negative = {_mm256_sub_epi16(zero, sums.low), _mm256_sub_epi16(zero, sums.high)};
      bn_store_tables(table + 512 * half + 64 * i, sums, negative);
    }
  }
}

static inline void bn_tl1_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  for (int half = 0; half < 2; ++half) {
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int i = 0; i < 8; ++i) {
      const __m256i index = bn_table_index(block + 32 * half, i);
      low = _mm256_add_epi8(low, bn_look_up(table + 512 * half + 64 * i, index));
      high = _mm256_add_epi8(high, bn_look_up(table + 512 * half + 64 * i + 32, index));
    }
    bn_add_digits(sum, low, high);
  }
}

static inline void bn_tl1_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m256i a = bn_lanes(_mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0));
  const __m256i b = bn_lanes(_mm_setr_epi8(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0));
  for (int half = 0; half < 2; ++half) {
    const uint8_t *lanes = block + 32 * half;
    for (int quad = 0; quad < 4; ++quad) {
      const __m256i left = bn_table_index(lanes, 2 * quad), right = bn_table_index(lanes, 2 * quad + 1);
      const __m256i columns[4] = {_mm256_shuffle_epi8(a, left), _mm256_shuffle_epi8(b, left),
                                  _mm256_shuffle_epi8(a, right), _mm256_shuffle_epi8(b, right)};
      bn_store_quads(panel + (8 * half + quad) * stride, 4 * stride, columns);
    }
  }
}

// Lane j has the 16 activations at q + 24j.
static inline __m256i bn_load_lanes(const int8_t *q) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i *>(q + 24), reinterpret_cast<const __m128i *>(q));
}

static inline void bn_tl2_tables(uint8_t *table, const int8_t *q) {
  // weight + 1 of a triple's first two columns, and of its third, for indices 0 to 7 and 8 to 15
  const __m256i first01 = bn_lanes(_mm_setr_epi8(1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 2, 0, 2, 0, 2, 0));
  const __m256i first2 = bn_lanes(_mm_setr_epi16(1, 2, 0, 1, 2, 0, 1, 2));
  const __m256i second01 = bn_lanes(_mm_setr_epi8(2, 1, 2, 1, 2, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1));
  const __m256i second2 = bn_lanes(_mm_setr_epi16(0, 1, 2, 0, 1, 2, 1, 1));
  const __m256i ones = _mm256_set1_epi8(1);
  for (int half = 0; half < 2; ++half) {
    const __m256i left = bn_load_lanes(q + 48 * half), right = bn_load_lanes(q + 48 * half + 8);
    for (int i = 0; i < 8; ++i) {
      const __m256i source = i < 4 ? left : right;
      const int column = 3 * i - (i < 4 ? 0 : 8);
      const __m256i two = _mm256_shuffle_epi8(source, _mm256_set1_epi16(static_cast<int16_t>(column * 0x101 + 0x100)));
      const __m256i third = _mm256_shuffle_epi8(source, _mm256_set1_epi16(static_cast<int16_t>(0x8000 + column + 2)));
      const __m256i centre = _mm256_add_epi16(_mm256_maddubs_epi16(ones, two), _mm256_maddubs_epi16(ones, third));
      const __m256i first = _mm256_add_epi16(_mm256_maddubs_epi16(first01, two), _mm256_maddubs_epi16(first2, third));
      const __m256i second =
          _mm256_add_epi16(_mm256_maddubs_epi16(second01, two), _mm256_maddubs_epi16(second2, third));
      bn_store_tables(table + 512 * half + 64 * i, bn_split(_mm256_sub_epi16(first, centre)),
                      bn_split(_mm256_sub_epi16(second, centre)));
    }
  }
}

// Negative bytes where triple i is, positive ones elsewhere: never zero, which vpsignb would make of the value too.
static inline __m256i bn_tl2_control(__m256i signs, int i) {
  return _mm256_or_si256(_mm256_slli_epi16(signs, 7 - i), _mm256_set1_epi8(1));
}

static inline void bn_tl2_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  for (int half = 0; half < 2; ++half) {
    const __m256i signs = bn_load32(block + 256 + 32 * half);
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int i = 0; i < 8; ++i) {
      const __m256i index = bn_table_index(block + 32 * half, i), control = bn_tl2_control(signs, i);
      const uint8_t *sums = table + 512 * half + 64 * i;
      low = _mm256_add_epi8(low, _mm256_sign_epi8(bn_look_up(sums, index), control));
      high = _mm256_add_epi8(high, _mm256_sign_epi8(bn_look_up(sums + 32, index), control));
    }
    bn_add_digits(sum, low, high);
  }
}

static inline void bn_tl2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m256i weight[3] = {bn_lanes(_mm_setr_epi8(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)),
                             bn_lanes(_mm_setr_epi8(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0)),
                             bn_lanes(_mm_setr_epi8(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0))};
  const __m256i one = _mm256_set1_epi8(1);
  for (int half = 0; half < 2; ++half) {
    const __m256i signs = bn_load32(block + 256 + 32 * half);
    __m256i columns[24];
    for (int i = 0; i < 8; ++i) {
      const __m256i index = bn_table_index(block + 32 * half, i), control = bn_tl2_control(signs, i);
      for (int c = 0; c < 3; ++c) {
        const __m256i weights = _mm256_sign_epi8(_mm256_shuffle_epi8(weight[c], index), control);
        columns[3 * i + c] = _mm256_add_epi8(weights, one);
      }
    }
    for (int quad = 0; quad < 6; ++quad) {
      bn_store_quads(panel + (12 * half + quad) * stride, 6 * stride, columns + 4 * quad);
    }
  }
}

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
static inline void bn_prefetch_far(const void *p) { _mm_prefetch(static_cast<const char *>(p), _MM_HINT_T1); }
static inline void bn_prefetch_write(void *p) { __builtin_prefetch(p, 1); }

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
