// Primitives of target `wasm-simd128`: WebAssembly's 128-bit vectors. With relaxed SIMD, whose choices the runtime looks
// at before it takes a program that was built so, dot products and fused multiply-adds are one instruction each; without
// it they are made of several, with the same results.
// What each must do is written in the header of target `ref`.
#pragma once

#include <wasm_simd128.h>

#include <cstdint>
#include <cstring>

// ---- ternary dot products -------------------------------------------------------------------------------------------

// Vector v holds rows 4v to 4v + 3.
struct bn_i32x16 {
  v128_t rows[4];
};

static inline bn_i32x16 bn_i32x16_zero() {
  const v128_t zero = wasm_i32x4_const_splat(0);
  return {{zero, zero, zero, zero}};
}

static inline bn_i32x16 bn_i32x16_add(bn_i32x16 a, bn_i32x16 b) {
  return {{wasm_i32x4_add(a.rows[0], b.rows[0]), wasm_i32x4_add(a.rows[1], b.rows[1]),
           wasm_i32x4_add(a.rows[2], b.rows[2]), wasm_i32x4_add(a.rows[3], b.rows[3])}};
}

static inline v128_t bn_scale_rows(v128_t sums, int32_t offset, float scale) {
  const v128_t centred = wasm_i32x4_sub(sums, wasm_i32x4_splat(offset));
  return wasm_f32x4_mul(wasm_f32x4_convert_i32x4(centred), wasm_f32x4_splat(scale));
}

static inline void bn_store_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  for (int v = 0; v < 4; ++v) wasm_v128_store(y + 4 * v, bn_scale_rows(sums.rows[v], offset, scale));
}

static inline void bn_add_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  for (int v = 0; v < 4; ++v) {
    const v128_t added = wasm_f32x4_add(wasm_v128_load(y + 4 * v), bn_scale_rows(sums.rows[v], offset, scale));
    wasm_v128_store(y + 4 * v, added);
  }
}

// Products of bytes added up in pairs, as int16: `codes` are 0 to 127, so that every implementation of the relaxed
// instruction gives the same.
static inline v128_t bn_dot_pairs(v128_t codes, v128_t x) {
#ifdef __wasm_relaxed_simd__
  return wasm_i16x8_relaxed_dot_i8x16_i7x16(x, codes);
#else
  const v128_t even = wasm_v128_and(codes, wasm_i16x8_const_splat(0xff)), odd = wasm_u16x8_shr(codes, 8);
  const v128_t even_x = wasm_i16x8_shr(wasm_i16x8_shl(x, 8), 8), odd_x = wasm_i16x8_shr(x, 8);
  return wasm_i16x8_add(wasm_i16x8_mul(even, even_x), wasm_i16x8_mul(odd, odd_x));
#endif
}

// One column quad adds at most 2 * 2 * 128 = 512 to a lane, so a chunk of the K loop may hold 63 quads. The template's
// chunk keeps to it. Vector v holds rows 4v to 4v + 3, two pairs of each.
struct bn_pairs {
  v128_t rows[4];
};

static inline bn_pairs bn_pairs_zero() {
  const v128_t zero = wasm_i16x8_const_splat(0);
  return {{zero, zero, zero, zero}};
}

static inline bn_i32x16 bn_pairs_total(const bn_pairs &sum) {
  return {{wasm_i32x4_extadd_pairwise_i16x8(sum.rows[0]), wasm_i32x4_extadd_pairwise_i16x8(sum.rows[1]),
           wasm_i32x4_extadd_pairwise_i16x8(sum.rows[2]), wasm_i32x4_extadd_pairwise_i16x8(sum.rows[3])}};
}

typedef v128_t bn_quad;

static inline bn_quad bn_load_quad(const int8_t *q) { return wasm_v128_load32_splat(q); }

// Codes at bits 2j of each byte.
static inline v128_t bn_codes_at(v128_t packed, int j) {
  return wasm_v128_and(wasm_u16x8_shr(packed, static_cast<uint32_t>(2 * j)), wasm_i8x16_const_splat(3));
}

typedef bn_pairs bn_gemv_sum;

static inline bn_gemv_sum bn_gemv_zero() { return bn_pairs_zero(); }

static inline void bn_gemv_add(bn_gemv_sum &sum, const uint8_t *block, const int8_t *q) {
  const v128_t x0 = bn_load_quad(q), x1 = bn_load_quad(q + 4), x2 = bn_load_quad(q + 8), x3 = bn_load_quad(q + 12);
  for (int v = 0; v < 4; ++v) {
    const v128_t packed = wasm_v128_load(block + 16 * v);
    const v128_t first = wasm_i16x8_add(bn_dot_pairs(bn_codes_at(packed, 0), x0), bn_dot_pairs(bn_codes_at(packed, 1), x1));
    const v128_t second =
        wasm_i16x8_add(bn_dot_pairs(bn_codes_at(packed, 2), x2), bn_dot_pairs(bn_codes_at(packed, 3), x3));
    sum.rows[v] = wasm_i16x8_add(sum.rows[v], wasm_i16x8_add(first, second));
  }
}

static inline bn_i32x16 bn_gemv_total(const bn_gemv_sum &sum) { return bn_pairs_total(sum); }

static inline void bn_i2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  for (int i = 0; i < 64; i += 16) {
    const v128_t packed = wasm_v128_load(block + i);
    for (int quad = 0; quad < 4; ++quad) wasm_v128_store(panel + quad * stride + i, bn_codes_at(packed, quad));
  }
}

struct bn_u8x64 {
  v128_t rows[4];
};
typedef bn_pairs bn_dot_sum;

static inline bn_u8x64 bn_load_panel(const uint8_t *panel) {
  return {{wasm_v128_load(panel), wasm_v128_load(panel + 16), wasm_v128_load(panel + 32), wasm_v128_load(panel + 48)}};
}
static inline bn_dot_sum bn_dot_zero() { return bn_pairs_zero(); }

static inline void bn_dot_add(bn_dot_sum &sum, bn_u8x64 codes, bn_quad x) {
  for (int v = 0; v < 4; ++v) sum.rows[v] = wasm_i16x8_add(sum.rows[v], bn_dot_pairs(codes.rows[v], x));
}

static inline bn_i32x16 bn_dot_total(const bn_dot_sum &sum) { return bn_pairs_total(sum); }

#define BN_DOT_MACS 64

// An engine loads all that a stretch of code needs before it computes, in registers if they are enough: of several quads
// they are not.
#define BN_QUADS _Pragma("clang loop unroll(disable)")

// ---- ternary table look-ups -----------------------------------------------------------------------------------------

// A sum v, |v| <= 384, is kept as two digits of a byte each, v = 25h + l with |l| <= 12 and |h| <= 15, so that eight of
// each add up in a byte. Then they are widened to int16: `low` holds rows 0 to 7, `high` rows 8 to 15.
struct bn_table_sum {
  v128_t low, high;
};

static inline bn_table_sum bn_table_zero() { return {wasm_i16x8_const_splat(0), wasm_i16x8_const_splat(0)}; }

static inline bn_i32x16 bn_table_total(const bn_table_sum &sum) {
  return {{wasm_i32x4_extend_low_i16x8(sum.low), wasm_i32x4_extend_high_i16x8(sum.low),
           wasm_i32x4_extend_low_i16x8(sum.high), wasm_i32x4_extend_high_i16x8(sum.high)}};
}

struct bn_digits {
  v128_t low, high;
};

// Eight look-ups' digits.
static inline void bn_add_digits(bn_table_sum &sum, bn_digits v) {
  const v128_t base = wasm_i8x16_const_splat(25);
  const v128_t first = wasm_i16x8_add(wasm_i16x8_extmul_low_i8x16(v.high, base), wasm_i16x8_extend_low_i8x16(v.low));
  const v128_t second = wasm_i16x8_add(wasm_i16x8_extmul_high_i8x16(v.high, base), wasm_i16x8_extend_high_i8x16(v.low));
  sum.low = wasm_i16x8_add(sum.low, first);
  sum.high = wasm_i16x8_add(sum.high, second);
}

// Digits of 16 sums, entries 0 to 7 and 8 to 15 of a table.
static inline bn_digits bn_split(v128_t first, v128_t second) {
  const v128_t inverse = wasm_i16x8_const_splat(1311), base = wasm_i16x8_const_splat(25); // 2^15 / 25
  const v128_t a = wasm_i16x8_q15mulr_sat(first, inverse), b = wasm_i16x8_q15mulr_sat(second, inverse);
  return {wasm_i8x16_narrow_i16x8(wasm_i16x8_sub(first, wasm_i16x8_mul(a, base)),
                                  wasm_i16x8_sub(second, wasm_i16x8_mul(b, base))),
          wasm_i8x16_narrow_i16x8(a, b)};
}

// Indices are less than 16, so that every implementation of the relaxed instruction gives the same.
static inline v128_t bn_look_up(v128_t table, v128_t index) {
#ifdef __wasm_relaxed_simd__
  return wasm_i8x16_relaxed_swizzle(table, index);
#else
  return wasm_i8x16_swizzle(table, index);
#endif
}

// Index i of every row in the lane that `lane` is the first byte of.
static inline v128_t bn_table_index(const uint8_t *lane, int i) {
  const v128_t two = wasm_v128_load(lane + i / 2 * 64);
  return wasm_v128_and(i % 2 ? wasm_u16x8_shr(two, 4) : two, wasm_i8x16_const_splat(15));
}

// Four vectors interleaved byte by byte: dword d of rows[h] is byte 4h + d of each.
struct bn_interleaved {
  v128_t rows[4];
};

static inline bn_interleaved bn_interleave(v128_t a, v128_t b, v128_t c, v128_t d) {
  const v128_t low01 = wasm_i8x16_shuffle(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const v128_t high01 = wasm_i8x16_shuffle(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const v128_t low23 = wasm_i8x16_shuffle(c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const v128_t high23 = wasm_i8x16_shuffle(c, d, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return {{wasm_i16x8_shuffle(low01, low23, 0, 8, 1, 9, 2, 10, 3, 11),
           wasm_i16x8_shuffle(low01, low23, 4, 12, 5, 13, 6, 14, 7, 15),
           wasm_i16x8_shuffle(high01, high23, 0, 8, 1, 9, 2, 10, 3, 11),
           wasm_i16x8_shuffle(high01, high23, 4, 12, 5, 13, 6, 14, 7, 15)}};
}

// Codes of four columns, `columns[i]` being byte r for row r, go to `panel` as one quad.
static inline void bn_store_quad(uint8_t *panel, const v128_t *columns) {
  const bn_interleaved quad = bn_interleave(columns[0], columns[1], columns[2], columns[3]);
  for (int h = 0; h < 4; ++h) wasm_v128_store(panel + 16 * h, quad.rows[h]);
}

#define BN_TL1_TABLE 1024
#define BN_TL2_TABLE 1024

static inline void bn_tl1_tables(uint8_t *table, const int8_t *q) {
  // weights of a pair, for indices 0 to 7; index 8 is the negative of index 0
  const v128_t a = wasm_i16x8_const(-1, -1, -1, 0, 0, 0, 1, 1), b = wasm_i16x8_const(-1, 0, 1, -1, 0, 1, -1, 0);
  for (int pair = 0; pair < 32; ++pair) {
    const v128_t sums = wasm_i16x8_add(wasm_i16x8_mul(a, wasm_i16x8_splat(q[2 * pair])),
                                       wasm_i16x8_mul(b, wasm_i16x8_splat(q[2 * pair + 1])));
    const bn_digits split = bn_split(sums, wasm_i16x8_neg(sums));
    wasm_v128_store(table + 32 * pair, split.low);
    wasm_v128_store(table + 32 * pair + 16, split.high);
  }
}

static inline void bn_tl1_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  for (int j = 0; j < 4; ++j) {
    bn_digits digits = {wasm_i8x16_const_splat(0), wasm_i8x16_const_splat(0)};
    for (int i = 0; i < 8; ++i) {
      const v128_t index = bn_table_index(block + 16 * j, i);
      const uint8_t *pair = table + 32 * (8 * j + i);
      digits.low = wasm_i8x16_add(digits.low, bn_look_up(wasm_v128_load(pair), index));
      digits.high = wasm_i8x16_add(digits.high, bn_look_up(wasm_v128_load(pair + 16), index));
    }
    bn_add_digits(sum, digits);
  }
}

static inline void bn_tl1_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const v128_t a = wasm_i8x16_const(0, 0, 0, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0);
  const v128_t b = wasm_i8x16_const(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0);
  for (int quad = 0; quad < 16; ++quad) {
    const uint8_t *lane = block + 16 * (quad / 4);
    const v128_t left = bn_table_index(lane, quad % 4 * 2), right = bn_table_index(lane, quad % 4 * 2 + 1);
    const v128_t columns[4] = {bn_look_up(a, left), bn_look_up(b, left), bn_look_up(a, right), bn_look_up(b, right)};
    bn_store_quad(panel + quad * stride, columns);
  }
}

static inline void bn_tl2_tables(uint8_t *table, const int8_t *q) {
  // weights of a triple, for indices 0 to 7 and 8 to 15
  const v128_t a0 = wasm_i16x8_const(0, 0, 0, 0, 0, 1, 1, 1), a8 = wasm_i16x8_const(1, 1, 1, 1, 1, 1, 0, 0);
  const v128_t b0 = wasm_i16x8_const(0, 0, 1, 1, 1, -1, -1, -1), b8 = wasm_i16x8_const(0, 0, 0, 1, 1, 1, 0, 0);
  const v128_t c0 = wasm_i16x8_const(0, 1, -1, 0, 1, -1, 0, 1), c8 = wasm_i16x8_const(-1, 0, 1, -1, 0, 1, 0, 0);
  for (int triple = 0; triple < 32; ++triple) {
    const v128_t x = wasm_i16x8_splat(q[3 * triple]), y = wasm_i16x8_splat(q[3 * triple + 1]);
    const v128_t z = wasm_i16x8_splat(q[3 * triple + 2]);
    const auto sums = [=](v128_t a, v128_t b, v128_t c) {
      return wasm_i16x8_add(wasm_i16x8_add(wasm_i16x8_mul(a, x), wasm_i16x8_mul(b, y)), wasm_i16x8_mul(c, z));
    };
    const bn_digits split = bn_split(sums(a0, b0, c0), sums(a8, b8, c8));
    wasm_v128_store(table + 32 * triple, split.low);
    wasm_v128_store(table + 32 * triple + 16, split.high);
  }
}

// All ones in the bytes of rows whose triple i is negative.
static inline v128_t bn_tl2_negative(v128_t signs, int i) {
  return wasm_i8x16_lt(wasm_i16x8_shl(signs, static_cast<uint32_t>(7 - i)), wasm_i8x16_const_splat(0));
}

// -v is ~v + 1: the ones are counted, and added at the end.
static inline void bn_tl2_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  for (int j = 0; j < 4; ++j) {
    const v128_t signs = wasm_v128_load(block + 256 + 16 * j);
    v128_t low = wasm_i8x16_const_splat(0), high = low, ones = low;
    for (int i = 0; i < 8; ++i) {
      const v128_t index = bn_table_index(block + 16 * j, i), negative = bn_tl2_negative(signs, i);
      const uint8_t *triple = table + 32 * (8 * j + i);
      low = wasm_i8x16_add(low, wasm_v128_xor(bn_look_up(wasm_v128_load(triple), index), negative));
      high = wasm_i8x16_add(high, wasm_v128_xor(bn_look_up(wasm_v128_load(triple + 16), index), negative));
      ones = wasm_i8x16_sub(ones, negative);
    }
    bn_add_digits(sum, {wasm_i8x16_add(low, ones), wasm_i8x16_add(high, ones)});
  }
}

static inline void bn_tl2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  const v128_t weights[3] = {wasm_i8x16_const(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
                             wasm_i8x16_const(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0),
                             wasm_i8x16_const(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0)};
  for (int j = 0; j < 4; ++j) {
    const v128_t signs = wasm_v128_load(block + 256 + 16 * j);
    v128_t columns[24];
    for (int i = 0; i < 8; ++i) {
      const v128_t index = bn_table_index(block + 16 * j, i), negative = bn_tl2_negative(signs, i);
      // (w ^ negative) - negative is the weight with its sign, and one more its code
      const v128_t one = wasm_i8x16_sub(wasm_i8x16_const_splat(1), negative);
      for (int c = 0; c < 3; ++c) {
        columns[3 * i + c] = wasm_i8x16_add(wasm_v128_xor(bn_look_up(weights[c], index), negative), one);
      }
    }
    for (int quad = 0; quad < 6; ++quad) bn_store_quad(panel + (6 * j + quad) * stride, columns + 4 * quad);
  }
}

// ---- float32 vectors ------------------------------------------------------------------------------------------------

#define BN_LANES 4

typedef v128_t bn_f32;
typedef v128_t bn_i32;

static inline bn_f32 bn_load(const float *p) { return wasm_v128_load(p); }
static inline void bn_store(float *p, bn_f32 v) { wasm_v128_store(p, v); }
static inline bn_f32 bn_set(float v) { return wasm_f32x4_splat(v); }
static inline bn_f32 bn_add(bn_f32 a, bn_f32 b) { return wasm_f32x4_add(a, b); }
static inline bn_f32 bn_sub(bn_f32 a, bn_f32 b) { return wasm_f32x4_sub(a, b); }
static inline bn_f32 bn_mul(bn_f32 a, bn_f32 b) { return wasm_f32x4_mul(a, b); }
static inline bn_f32 bn_div(bn_f32 a, bn_f32 b) { return wasm_f32x4_div(a, b); }
static inline bn_f32 bn_max(bn_f32 a, bn_f32 b) { return wasm_f32x4_pmax(b, a); }
static inline bn_f32 bn_min(bn_f32 a, bn_f32 b) { return wasm_f32x4_pmin(b, a); }
static inline bn_f32 bn_abs(bn_f32 v) { return wasm_f32x4_abs(v); }

#ifdef __wasm_relaxed_simd__

static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) { return wasm_f32x4_relaxed_madd(a, b, c); }

#else

// a * b + c in float64, where the product is exact, and then to float32. It was rounded twice: the first time to odd, by
// what the addition lost, which leaves the second one right.
static inline float bn_fma_value(float a, float b, float c) {
  const double product = static_cast<double>(a) * b, added = c;
  double sum = product + added;
  const double part = sum - product;
  const double lost = (product - (sum - part)) + (added - part);
  int64_t bits;
  std::memcpy(&bits, &sum, sizeof bits);
  if ((lost < 0 || lost > 0) && (bits & 1) == 0) {
    bits += (lost > 0) == (sum > 0) ? 1 : -1;
    std::memcpy(&sum, &bits, sizeof bits);
  }
  return static_cast<float>(sum);
}

[[gnu::noinline, gnu::cold]] static bn_f32 bn_fma_lanes(bn_f32 a, bn_f32 b, bn_f32 c) {
  float x[4], y[4], z[4];
  wasm_v128_store(x, a);
  wasm_v128_store(y, b);
  wasm_v128_store(z, c);
  for (int i = 0; i < 4; ++i) z[i] = bn_fma_value(x[i], y[i], z[i]);
  return wasm_v128_load(z);
}

// Where a sum in float64 lies half-way between two float32, or below the normal ones, rounding it again may go wrong.
static inline v128_t bn_fma_doubtful(v128_t sum) {
  const v128_t dropped = wasm_v128_and(sum, wasm_i64x2_const_splat(0x1fffffff));
  return wasm_v128_or(wasm_i64x2_eq(dropped, wasm_i64x2_const_splat(0x10000000)),
                      wasm_f64x2_lt(wasm_f64x2_abs(sum), wasm_f64x2_const_splat(0x1p-126)));
}

static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) {
  const auto upper = [](v128_t v) { return wasm_i32x4_shuffle(v, v, 2, 3, 2, 3); };
  const auto sum = [](v128_t x, v128_t y, v128_t z) {
    const v128_t product = wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(x), wasm_f64x2_promote_low_f32x4(y));
    return wasm_f64x2_add(product, wasm_f64x2_promote_low_f32x4(z));
  };
  const v128_t low = sum(a, b, c), high = sum(upper(a), upper(b), upper(c));
  if (__builtin_expect(wasm_v128_any_true(wasm_v128_or(bn_fma_doubtful(low), bn_fma_doubtful(high))), 0)) {
    return bn_fma_lanes(a, b, c);
  }
  return wasm_i32x4_shuffle(wasm_f32x4_demote_f64x2_zero(low), wasm_f32x4_demote_f64x2_zero(high), 0, 1, 4, 5);
}

#endif

static inline float bn_reduce_add(bn_f32 v) {
  const v128_t sum = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(sum, 0) + wasm_f32x4_extract_lane(sum, 1);
}
static inline float bn_reduce_max(bn_f32 v) {
  const v128_t top = bn_max(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(bn_max(top, wasm_i32x4_shuffle(top, top, 1, 1, 1, 1)), 0);
}

static inline bn_f32 bn_round(bn_f32 v) { return wasm_f32x4_nearest(v); }

// To the nearest integer, halves to even, for |v| < 2^22: adding 1.5 * 2^23 leaves it in the low bits.
static inline v128_t bn_nearest_i32(v128_t v) {
  const v128_t shifted = wasm_f32x4_add(v, wasm_f32x4_const_splat(12582912.0f));
  return wasm_i32x4_sub(shifted, wasm_i32x4_const_splat(0x4b400000));
}

static inline bn_f32 bn_ldexp(bn_f32 v, bn_f32 n) {
  const v128_t exponent = wasm_i32x4_add(bn_nearest_i32(n), wasm_i32x4_const_splat(127));
  return wasm_f32x4_mul(v, wasm_i32x4_shl(exponent, 23));
}

// float16 → float32, eight at once: the halves of each float32, then the exponents' biases, which differ by 112. What was
// infinite or no number gets its exponent of all ones.
static inline void bn_f16_values(bn_f32 *two, v128_t halves) {
  const v128_t magnitude = wasm_v128_and(halves, wasm_i16x8_const_splat(0x7fff));
  const v128_t special = wasm_i16x8_gt(magnitude, wasm_i16x8_const_splat(0x7bff));
  const v128_t more = wasm_i16x8_const_splat(0x7000); // bits of the exponent that a float16 does not have
  const v128_t high = wasm_v128_or(wasm_v128_andnot(wasm_i16x8_shr(halves, 3), more), wasm_v128_and(special, more));
  const v128_t low = wasm_i16x8_shl(halves, 13), power = wasm_f32x4_const_splat(0x1p112f);
  two[0] = wasm_f32x4_mul(wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11), power);
  two[1] = wasm_f32x4_mul(wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15), power);
}

static inline bn_f32 bn_load_f16(const uint16_t *p) {
  bn_f32 two[2];
  bn_f16_values(two, wasm_v128_load64_zero(p));
  return two[0];
}

#define BN_LOAD_F16_PAIR
static inline void bn_load_f16_pair(bn_f32 *two, const uint16_t *p) { bn_f16_values(two, wasm_v128_load(p)); }

static inline void bn_store_f16(uint16_t *p, bn_f32 v) {
  const v128_t bits = wasm_v128_and(v, wasm_i32x4_const_splat(0x7fffffff));
  const v128_t sign = wasm_v128_and(wasm_u32x4_shr(v, 16), wasm_i32x4_const_splat(0x8000));
  const v128_t even = wasm_v128_and(wasm_u32x4_shr(bits, 13), wasm_i32x4_const_splat(1));
  const v128_t rebiased = wasm_i32x4_sub(bits, wasm_i32x4_const_splat(0x38000000 - 0xfff));
  const v128_t normal = wasm_u32x4_shr(wasm_i32x4_add(rebiased, even), 13);
  // Subnormal: adding 0.5 shifts the value into place, rounded as the addition rounds.
  const v128_t small =
      wasm_i32x4_sub(wasm_f32x4_add(bits, wasm_f32x4_const_splat(0.5f)), wasm_i32x4_const_splat(0x3f000000));
  v128_t half = wasm_v128_bitselect(small, normal, wasm_i32x4_lt(bits, wasm_i32x4_const_splat(0x38800000)));
  const v128_t infinite = wasm_i32x4_gt(bits, wasm_i32x4_const_splat(0x477fefff));
  half = wasm_v128_bitselect(wasm_i32x4_const_splat(0x7c00), half, infinite);
  const v128_t no_number = wasm_i32x4_gt(bits, wasm_i32x4_const_splat(0x7f800000));
  half = wasm_v128_bitselect(wasm_i32x4_const_splat(0x7e00), half, no_number);
  half = wasm_v128_or(half, sign);
  wasm_v128_store64_lane(p, wasm_u16x8_narrow_i32x4(half, half), 0);
}

static inline bn_f32 bn_load_bf16(const uint16_t *p) { return wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16); }
static inline bn_f32 bn_load_i8(const int8_t *p) {
  const v128_t words = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p));
  return wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(words));
}

static inline bn_i32 bn_i32_zero() { return wasm_i32x4_const_splat(0); }
static inline bn_i32 bn_i32_add(bn_i32 a, bn_i32 b) { return wasm_i32x4_add(a, b); }
static inline int32_t bn_i32_reduce_add(bn_i32 v) {
  const v128_t two = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
  return wasm_i32x4_extract_lane(two, 0) + wasm_i32x4_extract_lane(two, 1);
}

static inline bn_i32 bn_quantise(int8_t *q, bn_f32 v) {
  const v128_t low = wasm_f32x4_const_splat(-128.0f), high = wasm_f32x4_const_splat(127.0f);
  const v128_t value = bn_nearest_i32(bn_min(bn_max(v, low), high));
  const v128_t words = wasm_i16x8_narrow_i32x4(value, value);
  wasm_v128_store32_lane(q, wasm_i8x16_narrow_i16x8(words, words), 0);
  return value;
}

// ---- the machine ----------------------------------------------------------------------------------------------------

// There is no such instruction: some turns of an empty loop give the other threads time. Unrolled it would be no loop.
static inline void bn_pause() {
  _Pragma("clang loop unroll(disable)") for (int i = 0; i < 16; ++i) __asm__ __volatile__("");
}
static inline void bn_prefetch(const void *) {}
static inline void bn_prefetch_far(const void *) {}
static inline void bn_prefetch_write(void *) {}

#define BN_AHEAD 0

struct bn_fold {
  v128_t value;
};
static inline bn_fold bn_fold_zero() { return {wasm_i32x4_const_splat(0)}; }
static inline void bn_fold_add(bn_fold &fold, const uint8_t *p) {
  const v128_t low = wasm_v128_xor(wasm_v128_load(p), wasm_v128_load(p + 16));
  const v128_t high = wasm_v128_xor(wasm_v128_load(p + 32), wasm_v128_load(p + 48));
  fold.value = wasm_v128_xor(fold.value, wasm_v128_xor(low, high));
}
static inline uint64_t bn_fold_value(const bn_fold &fold) {
  return static_cast<uint64_t>(wasm_i64x2_extract_lane(fold.value, 0)) ^
         static_cast<uint64_t>(wasm_i64x2_extract_lane(fold.value, 1));
}
