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

static inline void bn_i2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
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

// ---- ternary table look-ups -----------------------------------------------------------------------------------------

// Each 128-bit lane looks up in tables of its own. A sum v, |v| <= 384, is kept as two digits of a byte each, v = 25h + l
// with |l| <= 12 and |h| <= 15, so that eight of each add up in a byte. Then they are widened to int16, even rows and odd
// ones.
struct bn_table_sum {
  __m512i even, odd;
};

static inline bn_table_sum bn_table_zero() { return {_mm512_setzero_si512(), _mm512_setzero_si512()}; }

static inline __m128i bn_fold_lanes(__m512i v) {
  const __m256i half = _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

static inline bn_i32x16 bn_table_total(const bn_table_sum &sum) {
  const __m128i even = bn_fold_lanes(sum.even), odd = bn_fold_lanes(sum.odd);
  const __m256i rows = _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd));
  return {_mm512_cvtepi16_epi32(rows)};
}

// Eight look-ups' digits.
static inline void bn_add_digits(bn_table_sum &sum, __m512i low, __m512i high) {
  const __m512i even = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_set1_epi16(1), low),
                                        _mm512_maddubs_epi16(_mm512_set1_epi16(25), high));
  const __m512i odd = _mm512_add_epi16(_mm512_maddubs_epi16(_mm512_set1_epi16(1 << 8), low),
                                       _mm512_maddubs_epi16(_mm512_set1_epi16(25 << 8), high));
  sum.even = _mm512_add_epi16(sum.even, even);
  sum.odd = _mm512_add_epi16(sum.odd, odd);
}

struct bn_digits {
  __m512i low, high;
};

static inline bn_digits bn_split(__m512i v) {
  const __m512i high = _mm512_mulhrs_epi16(v, _mm512_set1_epi16(1311)); // 2^15 / 25
  return {_mm512_sub_epi16(v, _mm512_mullo_epi16(high, _mm512_set1_epi16(25))), high};
}

// A table for each lane, from entries 0 to 7 and 8 to 15: 64 bytes of low digits, then the high ones.
static inline void bn_store_tables(uint8_t *table, bn_digits first, bn_digits second) {
  _mm512_storeu_si512(table, _mm512_packs_epi16(first.low, second.low));
  _mm512_storeu_si512(table + 64, _mm512_packs_epi16(first.high, second.high));
}

static inline __m512i bn_look_up(const uint8_t *table, __m512i index) {
  return _mm512_shuffle_epi8(_mm512_loadu_si512(table), index);
}

// Index i of every lane and row.
static inline __m512i bn_table_index(const uint8_t *block, int i) {
  const __m512i two = _mm512_loadu_si512(block + i / 2 * 64);
  return _mm512_and_si512(i % 2 ? _mm512_srli_epi16(two, 4) : two, _mm512_set1_epi8(15));
}

// Codes of four columns in each lane, `columns[i]` being byte r for row r, go to `panel` as one quad a lane.
static inline void bn_store_quads(uint8_t *panel, int64_t stride, const __m512i *columns) {
  const __m512i low01 = _mm512_unpacklo_epi8(columns[0], columns[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(columns[2], columns[3]);
  const __m512i high01 = _mm512_unpackhi_epi8(columns[0], columns[1]);
  const __m512i high23 = _mm512_unpackhi_epi8(columns[2], columns[3]);
  const __m512i rows0 = _mm512_unpacklo_epi16(low01, low23), rows4 = _mm512_unpackhi_epi16(low01, low23);
  const __m512i rows8 = _mm512_unpacklo_epi16(high01, high23), rows12 = _mm512_unpackhi_epi16(high01, high23);
  const __m512i even0 = _mm512_shuffle_i32x4(rows0, rows4, 0x88), odd0 = _mm512_shuffle_i32x4(rows0, rows4, 0xdd);
  const __m512i even8 = _mm512_shuffle_i32x4(rows8, rows12, 0x88), odd8 = _mm512_shuffle_i32x4(rows8, rows12, 0xdd);
  _mm512_storeu_si512(panel, _mm512_shuffle_i32x4(even0, even8, 0x88));
  _mm512_storeu_si512(panel + stride, _mm512_shuffle_i32x4(odd0, odd8, 0x88));
  _mm512_storeu_si512(panel + 2 * stride, _mm512_shuffle_i32x4(even0, even8, 0xdd));
  _mm512_storeu_si512(panel + 3 * stride, _mm512_shuffle_i32x4(odd0, odd8, 0xdd));
}

#define BN_TL1_TABLE 1024
#define BN_TL2_TABLE 1024

// The same 16 bytes in every lane.
static inline __m512i bn_lanes(__m128i v) { return _mm512_broadcast_i32x4(v); }

static inline void bn_tl1_tables(uint8_t *table, const int8_t *q) {
  // weight + 1 of a pair, for indices 0 to 7; index 8 is the negative of index 0
  const __m512i codes = bn_lanes(_mm_setr_epi8(0, 0, 0, 1, 0, 2, 1, 0, 1, 1, 1, 2, 2, 0, 2, 1));
  const __m512i all = _mm512_loadu_si512(q), zero = _mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    const __m512i pair = _mm512_shuffle_epi8(all, _mm512_set1_epi16(static_cast<int16_t>(0x0100 + i * 0x0202)));
    const __m512i centre = _mm512_maddubs_epi16(_mm512_set1_epi8(1), pair);
    const bn_digits sums = bn_split(_mm512_sub_epi16(_mm512_maddubs_epi16(codes, pair), centre));
    const bn_digits negative = {_mm512_sub_epi16(zero, sums.low), _mm512_sub_epi16(zero, sums.high)};
    bn_store_tables(table + 128 * i, sums, negative);
  }
}

static inline void bn_tl1_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  __m512i low = _mm512_setzero_si512(), high = low;
  for (int i = 0; i < 8; ++i) {
    const __m512i index = bn_table_index(block, i);
    low = _mm512_add_epi8(low, bn_look_up(table + 128 * i, index));
    high = _mm512_add_epi8(high, bn_look_up(table + 128 * i + 64, index));
  }
  bn_add_digits(sum, low, high);
}

static inline void bn_tl1_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m512i a = bn_lanes(_mm_setr_epi8(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0));
  const __m512i b = bn_lanes(_mm_setr_epi8(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0));
  for (int quad = 0; quad < 4; ++quad) {
    const __m512i left = bn_table_index(block, 2 * quad), right = bn_table_index(block, 2 * quad + 1);
    const __m512i columns[4] = {_mm512_shuffle_epi8(a, left), _mm512_shuffle_epi8(b, left),
                                _mm512_shuffle_epi8(a, right), _mm512_shuffle_epi8(b, right)};
    bn_store_quads(panel + quad * stride, 4 * stride, columns);
  }
}

// Lane j has the 16 activations at q + 24j.
static inline __m512i bn_load_lanes(const int8_t *q) {
  const auto lane = [q](int j) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(q + 24 * j)); };
  const __m512i first = _mm512_inserti32x4(_mm512_castsi128_si512(lane(0)), lane(1), 1);
  return _mm512_inserti32x4(_mm512_inserti32x4(first, lane(2), 2), lane(3), 3);
}

static inline void bn_tl2_tables(uint8_t *table, const int8_t *q) {
  // weight + 1 of a triple's first two columns, and of its third, for indices 0 to 7 and 8 to 15
  const __m512i first01 = bn_lanes(_mm_setr_epi8(1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 2, 0, 2, 0, 2, 0));
  const __m512i first2 = bn_lanes(_mm_setr_epi16(1, 2, 0, 1, 2, 0, 1, 2));
  const __m512i second01 = bn_lanes(_mm_setr_epi8(2, 1, 2, 1, 2, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1));
  const __m512i second2 = bn_lanes(_mm_setr_epi16(0, 1, 2, 0, 1, 2, 1, 1));
  const __m512i ones = _mm512_set1_epi8(1);
  const __m512i left = bn_load_lanes(q), right = bn_load_lanes(q + 8);
  for (int i = 0; i < 8; ++i) {
    const __m512i source = i < 4 ? left : right;
    const int column = 3 * i - (i < 4 ? 0 : 8);
    const __m512i two = _mm512_shuffle_epi8(source, _mm512_set1_epi16(static_cast<int16_t>(column * 0x101 + 0x100)));
    const __m512i third = _mm512_shuffle_epi8(source, _mm512_set1_epi16(static_cast<int16_t>(0x8000 + column + 2)));
    const __m512i centre = _mm512_add_epi16(_mm512_maddubs_epi16(ones, two), _mm512_maddubs_epi16(ones, third));
    const __m512i first = _mm512_add_epi16(_mm512_maddubs_epi16(first01, two), _mm512_maddubs_epi16(first2, third));
    const __m512i second = _mm512_add_epi16(_mm512_maddubs_epi16(second01, two), _mm512_maddubs_epi16(second2, third));
    bn_store_tables(table + 128 * i, bn_split(_mm512_sub_epi16(first, centre)),
                    bn_split(_mm512_sub_epi16(second, centre)));
  }
}

// Whether triple i is negative, for every lane and row.
static inline __mmask64 bn_tl2_negative(__m512i signs, int i) {
  return _mm512_test_epi8_mask(signs, _mm512_set1_epi8(static_cast<int8_t>(1 << i)));
}

static inline void bn_tl2_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  const __m512i signs = _mm512_loadu_si512(block + 256), zero = _mm512_setzero_si512();
  __m512i low = zero, high = zero;
  for (int i = 0; i < 8; ++i) {
    const __m512i index = bn_table_index(block, i);
    const __mmask64 negative = bn_tl2_negative(signs, i);
    const __m512i l = bn_look_up(table + 128 * i, index), h = bn_look_up(table + 128 * i + 64, index);
    low = _mm512_add_epi8(low, _mm512_mask_sub_epi8(l, negative, zero, l));
    high = _mm512_add_epi8(high, _mm512_mask_sub_epi8(h, negative, zero, h));
  }
  bn_add_digits(sum, low, high);
}

static inline void bn_tl2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const __m512i code[3] = {bn_lanes(_mm_setr_epi8(1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1)),
                           bn_lanes(_mm_setr_epi8(1, 1, 2, 2, 2, 0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1)),
                           bn_lanes(_mm_setr_epi8(1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 1))};
  const __m512i signs = _mm512_loadu_si512(block + 256), two = _mm512_set1_epi8(2);
  __m512i columns[24];
  for (int i = 0; i < 8; ++i) {
    const __m512i index = bn_table_index(block, i);
    const __mmask64 negative = bn_tl2_negative(signs, i);
    for (int c = 0; c < 3; ++c) {
      const __m512i codes = _mm512_shuffle_epi8(code[c], index);
      columns[3 * i + c] = _mm512_mask_sub_epi8(codes, negative, two, codes);
    }
  }
  for (int quad = 0; quad < 6; ++quad) bn_store_quads(panel + quad * stride, 6 * stride, columns + 4 * quad);
}

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
static inline void bn_prefetch_far(const void *p) { _mm_prefetch(static_cast<const char *>(p), _MM_HINT_T1); }
static inline void bn_prefetch_write(void *p) { __builtin_prefetch(p, 1); }

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
