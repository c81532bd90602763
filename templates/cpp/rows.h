// Arithmetic on rows of float32, over the target's vectors. N is a row's length padded to a multiple of 16, with zeros
// in the padding.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "abi.h"
#include "primitives.h"

#if defined(__clang__)
#define BN_UNROLL _Pragma("unroll")
#else
#define BN_UNROLL _Pragma("GCC unroll 32")
#endif

// Column quads of a tile, one after the other in the code where the target does not want a loop of them.
#ifndef BN_QUADS
#define BN_QUADS BN_UNROLL
#endif

// Sixteen values, whatever the width of the target's vectors. Sums run in sixteen lanes and are folded in one order, so
// every target rounds alike: logits are equal bit for bit on all of them.
struct bn_f32x16 {
  bn_f32 part[16 / BN_LANES];
};

static inline bn_f32x16 bn_zero16() {
  bn_f32x16 zero;
  BN_UNROLL for (bn_f32 &part : zero.part) part = bn_set(0.0f);
  return zero;
}

static inline bn_f32x16 bn_load16(const float *p) {
  bn_f32x16 values;
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) values.part[i] = bn_load(p + i * BN_LANES);
  return values;
}

// float16 values; some targets make two vectors of them at once.
static inline bn_f32x16 bn_load16_f16(const uint16_t *p) {
  bn_f32x16 values;
#ifdef BN_LOAD_F16_PAIR
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; i += 2) bn_load_f16_pair(values.part + i, p + i * BN_LANES);
#else
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) values.part[i] = bn_load_f16(p + i * BN_LANES);
#endif
  return values;
}

static inline bn_f32x16 bn_load16_bf16(const uint16_t *p) {
  bn_f32x16 values;
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) values.part[i] = bn_load_bf16(p + i * BN_LANES);
  return values;
}

// int8 values times their block's scale
static inline bn_f32x16 bn_scaled16(const int8_t *p, bn_f32 scale) {
  bn_f32x16 values;
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) values.part[i] = bn_mul(bn_load_i8(p + i * BN_LANES), scale);
  return values;
}

static inline void bn_store16(float *p, const bn_f32x16 &values) {
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) bn_store(p + i * BN_LANES, values.part[i]);
}

// sum += a * b
static inline void bn_fma16(bn_f32x16 &sum, const bn_f32x16 &a, const bn_f32x16 &b) {
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) sum.part[i] = bn_fma(a.part[i], b.part[i], sum.part[i]);
}

static inline void bn_add16(bn_f32x16 &sum, const bn_f32x16 &a) {
  BN_UNROLL for (int i = 0; i < 16 / BN_LANES; ++i) sum.part[i] = bn_add(sum.part[i], a.part[i]);
}

// All lanes added up: lane l to lane l + 8, then + 4, + 2, + 1.
static inline float bn_total(bn_f32x16 sum) {
  BN_UNROLL for (int half = 8 / BN_LANES; half > 0; half /= 2) {
    BN_UNROLL for (int i = 0; i < half; ++i) sum.part[i] = bn_add(sum.part[i], sum.part[i + half]);
  }
  return bn_reduce_add(sum.part[0]);
}

// float16 → float32, one value.
static inline float bn_f16_value(const uint8_t *p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof half);
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  uint32_t bits = static_cast<uint32_t>(half & 0x7fffu) << 13;
  float value;
  if (bits >= 0x0f800000u) {
    bits |= 0x70000000u; // infinity and NaN keep their exponent of all ones
    std::memcpy(&value, &bits, sizeof value);
  } else {
    std::memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f; // the exponents' biases differ by 112
  }
  std::memcpy(&bits, &value, sizeof bits);
  bits |= sign;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Prefetches `Bytes` bytes, line by line.
template <int Bytes>
static inline void bn_prefetch_lines(const uint8_t *p) {
  BN_UNROLL for (int line = 0; line < Bytes; line += 64) bn_prefetch(p + line);
}

// Prefetches what comes after byte `at` of a row: behind its end, the row at `next`.
static inline void bn_prefetch_row(const uint8_t *row, const uint8_t *next, int64_t at, int64_t row_bytes) {
  const int64_t ahead = at + BN_AHEAD;
  bn_prefetch(ahead < row_bytes ? row + ahead : next + (ahead - row_bytes));
}

// The same where `Rows` rows are read side by side: behind a row's end comes the row `Rows` further on.
template <int Rows>
static inline void bn_prefetch_rows(const uint8_t *row, int64_t at, int64_t row_bytes) {
  bn_prefetch_row(row, row + Rows * row_bytes, at, row_bytes);
}

// e^v to within 2 units in the last place, for v from -87.3 to 88; beyond, what it is at the nearer end.
static inline bn_f32 bn_exp(bn_f32 v) {
  const bn_f32 x = bn_max(bn_min(v, bn_set(88.0f)), bn_set(-87.3f));
  const bn_f32 n = bn_round(bn_mul(x, bn_set(1.44269504f)));
  // ln 2 in two parts, the first short enough for n * ln 2 to be exact
  bn_f32 r = bn_fma(n, bn_set(-0.693359375f), x);
  r = bn_fma(n, bn_set(2.12194440e-4f), r);
  // Taylor's series on |r| <= ln 2 / 2
  bn_f32 e = bn_set(1.0f / 5040.0f);
  e = bn_fma(e, r, bn_set(1.0f / 720.0f));
  e = bn_fma(e, r, bn_set(1.0f / 120.0f));
  e = bn_fma(e, r, bn_set(1.0f / 24.0f));
  e = bn_fma(e, r, bn_set(1.0f / 6.0f));
  e = bn_fma(e, r, bn_set(0.5f));
  e = bn_fma(e, r, bn_set(1.0f));
  e = bn_fma(e, r, bn_set(1.0f));
  return bn_ldexp(e, n);
}

// y = x / sqrt(mean(x^2) + epsilon) * weight; `size` is the length without padding. y may be x.
template <int N>
static inline void bn_rms_norm(float *y, const float *x, const float *weight, int size, float epsilon) {
  bn_f32x16 squares = bn_zero16();
  for (int i = 0; i < N; i += 16) {
    const bn_f32x16 values = bn_load16(x + i);
    bn_fma16(squares, values, values);
  }
  const float mean = bn_total(squares) / static_cast<float>(size);
  const bn_f32 scale = bn_set(1.0f / std::sqrt(mean + epsilon));
  for (int i = 0; i < N; i += BN_LANES) bn_store(y + i, bn_mul(bn_mul(bn_load(x + i), scale), bn_load(weight + i)));
}

// q = clamp(round(x * 127 / max(|x|, 1e-5))), as the BitNet b1.58 papers quantise activations.
template <int N>
static inline void bn_quantise_row(int8_t *q, bn_quant *quant, const float *x) {
  bn_f32 largest = bn_set(1e-5f);
  for (int i = 0; i < N; i += BN_LANES) largest = bn_max(largest, bn_abs(bn_load(x + i)));
  const float absmax = bn_reduce_max(largest);
  const bn_f32 scale = bn_set(127.0f / absmax);
  bn_i32 sum = bn_i32_zero();
  for (int i = 0; i < N; i += BN_LANES) sum = bn_i32_add(sum, bn_quantise(q + i, bn_mul(bn_load(x + i), scale)));
  quant->inverse_scale = absmax / 127.0f;
  quant->sum = bn_i32_reduce_add(sum);
}

template <int N>
static inline void bn_scale_row(float *x, float factor) {
  for (int i = 0; i < N; i += BN_LANES) bn_store(x + i, bn_mul(bn_load(x + i), bn_set(factor)));
}

// y += x
template <int N>
static inline void bn_add_row(float *y, const float *x) {
  for (int i = 0; i < N; i += BN_LANES) bn_store(y + i, bn_add(bn_load(y + i), bn_load(x + i)));
}

// y = max(gate, 0)^2 * up
template <int N>
static inline void bn_relu2_gate(float *y, const float *gate, const float *up) {
  for (int i = 0; i < N; i += BN_LANES) {
    const bn_f32 positive = bn_max(bn_load(gate + i), bn_set(0.0f));
    bn_store(y + i, bn_mul(bn_mul(positive, positive), bn_load(up + i)));
  }
}

// y = gate / (1 + e^-gate) * up
template <int N>
static inline void bn_silu_gate(float *y, const float *gate, const float *up) {
  for (int i = 0; i < N; i += BN_LANES) {
    const bn_f32 g = bn_load(gate + i);
    const bn_f32 e = bn_exp(bn_sub(bn_set(0.0f), g));
    bn_store(y + i, bn_mul(bn_div(g, bn_add(bn_set(1.0f), e)), bn_load(up + i)));
  }
}

// y = gate / (1 + e^(-2 u)) * up with u = sqrt(2 / pi) (gate + 0.044715 gate^3): GELU by tanh, since
// (1 + tanh u) / 2 = 1 / (1 + e^(-2 u))
template <int N>
static inline void bn_gelu_gate(float *y, const float *gate, const float *up) {
  for (int i = 0; i < N; i += BN_LANES) {
    const bn_f32 g = bn_load(gate + i);
    const bn_f32 inner = bn_fma(bn_mul(bn_mul(g, g), g), bn_set(0.044715f), g);
    const bn_f32 e = bn_exp(bn_mul(inner, bn_set(-1.59576912f)));
    bn_store(y + i, bn_mul(bn_div(g, bn_add(bn_set(1.0f), e)), bn_load(up + i)));
  }
}
