// Primitives of target `ref`: portable scalar C++, and the definition of what every other target's header must do.
//
// Integer primitives work on row groups: 16 rows of a ternary matrix. A block is 16 rows x 16 columns of 2-bit codes
// (code = weight + 1) in 64 bytes: byte 4r + j holds row r, columns j, 4 + j, 8 + j and 12 + j, at bits 0, 2, 4 and 6.
// All integer results are exact.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// ---- ternary dot products -------------------------------------------------------------------------------------------

// One int32 for each row of a group.
struct bn_i32x16 {
  int32_t row[16];
};

static inline bn_i32x16 bn_i32x16_zero() { return {}; }

static inline bn_i32x16 bn_i32x16_add(bn_i32x16 a, bn_i32x16 b) {
  for (int r = 0; r < 16; ++r) a.row[r] += b.row[r];
  return a;
}

// y[r] = (sums[r] - offset) * scale, the multiplication in float32.
static inline void bn_store_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  for (int r = 0; r < 16; ++r) y[r] = static_cast<float>(sums.row[r] - offset) * scale;
}

// y[r] += (sums[r] - offset) * scale, multiplication and addition each rounded to float32.
static inline void bn_add_rows(float *y, bn_i32x16 sums, int32_t offset, float scale) {
  for (int r = 0; r < 16; ++r) y[r] += static_cast<float>(sums.row[r] - offset) * scale;
}

// Running sums of a GEMV over one row group.
struct bn_gemv_sum {
  int32_t row[16];
};

static inline bn_gemv_sum bn_gemv_zero() { return {}; }

// Adds code * q over the 16 columns of one block.
static inline void bn_gemv_add(bn_gemv_sum &sum, const uint8_t *block, const int8_t *q) {
  for (int r = 0; r < 16; ++r) {
    for (int j = 0; j < 4; ++j) {
      const int codes = block[4 * r + j];
      for (int quad = 0; quad < 4; ++quad) sum.row[r] += (codes >> (2 * quad) & 3) * q[4 * quad + j];
    }
  }
}

static inline bn_i32x16 bn_gemv_total(const bn_gemv_sum &sum) {
  bn_i32x16 total;
  std::memcpy(total.row, sum.row, sizeof total.row);
  return total;
}

// Unpacks one block to one byte a code: panel[quad * stride + 4r + j] for column 4 quad + j of row r.
static inline void bn_i2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  for (int quad = 0; quad < 4; ++quad) {
    for (int i = 0; i < 64; ++i) panel[quad * stride + i] = block[i] >> (2 * quad) & 3;
  }
}

// One unpacked quad: 16 rows x 4 columns.
struct bn_u8x64 {
  const uint8_t *code;
};

static inline bn_u8x64 bn_load_panel(const uint8_t *panel) { return {panel}; }

// Four activations, seen by every row.
struct bn_quad {
  const int8_t *q;
};

static inline bn_quad bn_load_quad(const int8_t *q) { return {q}; }

// Running sums of one token in a GEMM over one row group.
struct bn_dot_sum {
  int32_t row[16];
};

static inline bn_dot_sum bn_dot_zero() { return {}; }

static inline void bn_dot_add(bn_dot_sum &sum, bn_u8x64 codes, bn_quad x) {
  for (int r = 0; r < 16; ++r) {
    for (int j = 0; j < 4; ++j) sum.row[r] += codes.code[4 * r + j] * x.q[j];
  }
}

static inline bn_i32x16 bn_dot_total(const bn_dot_sum &sum) {
  bn_i32x16 total;
  std::memcpy(total.row, sum.row, sizeof total.row);
  return total;
}

// Multiply-accumulates in one bn_dot_add.
#define BN_DOT_MACS 64

// ---- ternary table look-ups -----------------------------------------------------------------------------------------

// Instead of multiplying, look up what pairs (tl1) or triples (tl2) of weights add up to, in tables that are made from one
// token's activations. The weights are indices into them; how the tables lie in memory is the target's own affair.
//
// A block is 16 rows high and has four lanes j with eight indices i each: byte 64 (i / 2) + 16j + r holds two of row r,
// in bits 3..0 where i is even and in bits 7..4 where it is odd.
// tl1: 64 columns, 256 bytes. Index i is of columns 16j + 2i + 0, 1: 3 (a + 1) + (b + 1) for a pair (a, b) of weights.
// tl2: 96 columns, 320 bytes. Index i is of columns 24j + 3i + 0, 1, 2: |n| for a triple (a, b, c), n = 9a + 3b + c.
// Bit i of byte 256 + 16j + r is 1 where n is negative.

// Running sums of one row group. The vector targets have int16 ones: look-ups over 255 columns are safe.
struct bn_table_sum {
  int32_t row[16];
};

static inline bn_table_sum bn_table_zero() { return {}; }

static inline bn_i32x16 bn_table_total(const bn_table_sum &sum) {
  bn_i32x16 total;
  std::memcpy(total.row, sum.row, sizeof total.row);
  return total;
}

// Bytes of the tables of one block.
#define BN_TL1_TABLE 1024
#define BN_TL2_TABLE 1024

// Index i of row r in lane j.
static inline int bn_table_index(const uint8_t *block, int j, int i, int r) {
  return block[i / 2 * 64 + j * 16 + r] >> i % 2 * 4 & 15;
}

// Makes the tables of one block from its 64 activations.
static inline void bn_tl1_tables(uint8_t *table, const int8_t *q) {
  int16_t *sums = reinterpret_cast<int16_t *>(table);
  for (int pair = 0; pair < 32; ++pair) {
    for (int n = 0; n < 9; ++n) {
      sums[16 * pair + n] = static_cast<int16_t>((n / 3 - 1) * q[2 * pair] + (n % 3 - 1) * q[2 * pair + 1]);
    }
  }
}

// Adds weight * q over the 64 columns of one block.
static inline void bn_tl1_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  const int16_t *sums = reinterpret_cast<const int16_t *>(table);
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 8; ++i) {
      for (int r = 0; r < 16; ++r) sum.row[r] += sums[16 * (8 * j + i) + bn_table_index(block, j, i, r)];
    }
  }
}

// As bn_i2_unpack, for 16 quads: panel[quad * stride + 4r + j] = weight + 1 for column 4 quad + j of row r.
static inline void bn_tl1_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  for (int column = 0; column < 64; ++column) {
    for (int r = 0; r < 16; ++r) {
      const int pair = bn_table_index(block, column / 16, column % 16 / 2, r);
      panel[column / 4 * stride + 4 * r + column % 4] = static_cast<uint8_t>(column % 2 ? pair % 3 : pair / 3);
    }
  }
}

// The three codes (weight + 1) of a triple, from n + 13.
static inline int bn_triple_code(int n, int column) { return column == 0 ? n / 9 : column == 1 ? n / 3 % 3 : n % 3; }

// Makes the tables of one block from its 96 activations.
static inline void bn_tl2_tables(uint8_t *table, const int8_t *q) {
  int16_t *sums = reinterpret_cast<int16_t *>(table);
  for (int triple = 0; triple < 32; ++triple) {
    for (int n = 0; n < 14; ++n) {
      int sum = 0;
      for (int c = 0; c < 3; ++c) sum += (bn_triple_code(n + 13, c) - 1) * q[3 * triple + c];
      sums[16 * triple + n] = static_cast<int16_t>(sum);
    }
  }
}

static inline bool bn_tl2_negative(const uint8_t *block, int j, int i, int r) {
  return block[256 + 16 * j + r] >> i & 1;
}

// Adds weight * q over the 96 columns of one block.
static inline void bn_tl2_add(bn_table_sum &sum, const uint8_t *block, const uint8_t *table) {
  const int16_t *sums = reinterpret_cast<const int16_t *>(table);
  for (int j = 0; j < 4; ++j) {
    for (int i = 0; i < 8; ++i) {
      for (int r = 0; r < 16; ++r) {
        const int value = sums[16 * (8 * j + i) + bn_table_index(block, j, i, r)];
        sum.row[r] += bn_tl2_negative(block, j, i, r) ? -value : value;
      }
    }
  }
}

// As bn_tl1_unpack, for 24 quads.
static inline void bn_tl2_unpack(uint8_t *panel, int64_t stride, const uint8_t *block) {
  for (int column = 0; column < 96; ++column) {
    const int j = column / 24, i = column % 24 / 3;
    for (int r = 0; r < 16; ++r) {
      const int index = bn_table_index(block, j, i, r);
      const int n = 13 + (bn_tl2_negative(block, j, i, r) ? -index : index);
      panel[column / 4 * stride + 4 * r + column % 4] = static_cast<uint8_t>(bn_triple_code(n, column % 3));
    }
  }
}

// ---- float32 vectors ------------------------------------------------------------------------------------------------

// Loops over floats run in steps of BN_LANES; buffers are padded to a multiple of 16.
#define BN_LANES 1

typedef float bn_f32;
typedef int32_t bn_i32;

static inline bn_f32 bn_load(const float *p) { return *p; }
static inline void bn_store(float *p, bn_f32 v) { *p = v; }
static inline bn_f32 bn_set(float v) { return v; }
static inline bn_f32 bn_add(bn_f32 a, bn_f32 b) { return a + b; }
static inline bn_f32 bn_sub(bn_f32 a, bn_f32 b) { return a - b; }
static inline bn_f32 bn_mul(bn_f32 a, bn_f32 b) { return a * b; }
static inline bn_f32 bn_div(bn_f32 a, bn_f32 b) { return a / b; }
static inline bn_f32 bn_max(bn_f32 a, bn_f32 b) { return a > b ? a : b; }
static inline bn_f32 bn_min(bn_f32 a, bn_f32 b) { return a < b ? a : b; }
static inline bn_f32 bn_abs(bn_f32 v) { return std::fabs(v); }
// a * b + c, rounded once
static inline bn_f32 bn_fma(bn_f32 a, bn_f32 b, bn_f32 c) { return std::fma(a, b, c); }
// All lanes added up: the upper half to the lower, until one is left.
static inline float bn_reduce_add(bn_f32 v) { return v; }
static inline float bn_reduce_max(bn_f32 v) { return v; }

// Rounds to the nearest integer, halves to even.
static inline bn_f32 bn_round(bn_f32 v) { return std::nearbyint(v); }
// v * 2^n for integral n within the exponent's range.
static inline bn_f32 bn_ldexp(bn_f32 v, bn_f32 n) {
  const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n) + 127) << 23;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return v * power;
}

static inline bn_f32 bn_load_f16(const uint16_t *p) {
  const uint32_t sign = static_cast<uint32_t>(*p & 0x8000u) << 16;
  const uint32_t magnitude = *p & 0x7fffu;
  float value;
  uint32_t bits;
  if (magnitude >= 0x7c00u) {
    bits = sign | 0x7f800000u | (magnitude & 0x3ffu) << 13;
    std::memcpy(&value, &bits, sizeof value);
  } else {
    // The exponent's bias differs by 112; multiplying takes care of subnormals too.
    bits = magnitude << 13;
    std::memcpy(&value, &bits, sizeof value);
    value *= 0x1p112f;
    std::memcpy(&bits, &value, sizeof bits);
    bits |= sign;
    std::memcpy(&value, &bits, sizeof value);
  }
  return value;
}

// Rounds to the nearest float16, halves to even.
static inline void bn_store_f16(uint16_t *p, bn_f32 v) {
  uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  const uint32_t sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  uint32_t half;
  if (bits > 0x7f800000u) {
    half = 0x7e00u;
  } else if (bits >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (bits < 0x38800000u) {
    // Subnormal: adding 0.5 shifts the value into place, rounded as the addition rounds.
    float value;
    std::memcpy(&value, &bits, sizeof value);
    value += 0.5f;
    std::memcpy(&half, &value, sizeof half);
    half -= 0x3f000000u;
  } else {
    half = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1u)) >> 13;
  }
  *p = static_cast<uint16_t>(sign | half);
}

static inline bn_f32 bn_load_bf16(const uint16_t *p) {
  const uint32_t bits = static_cast<uint32_t>(*p) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static inline bn_f32 bn_load_i8(const int8_t *p) { return static_cast<float>(*p); }

static inline bn_i32 bn_i32_zero() { return 0; }
static inline bn_i32 bn_i32_add(bn_i32 a, bn_i32 b) { return a + b; }
static inline int32_t bn_i32_reduce_add(bn_i32 v) { return v; }

// q = clamp(round_half_even(v), -128, 127), stored; returned as integers, to be summed.
static inline bn_i32 bn_quantise(int8_t *q, bn_f32 v) {
  const float rounded = std::nearbyint(v);
  const int32_t value = rounded < -128.0f ? -128 : rounded > 127.0f ? 127 : static_cast<int32_t>(rounded);
  *q = static_cast<int8_t>(value);
  return value;
}

// ---- the machine ----------------------------------------------------------------------------------------------------

static inline void bn_pause() {}
// Fetches a line; the other one no further than to the second-level cache, for lines that lie apart: more of those can be
// on their way at once. And one that will be written.
static inline void bn_prefetch(const void *) {}
static inline void bn_prefetch_far(const void *) {}
static inline void bn_prefetch_write(void *) {}

// Bytes that prefetches run ahead of the loads of a stream.
#define BN_AHEAD 1024

// Folds 64 bytes into a running value, reading as wide as the target can.
struct bn_fold {
  uint64_t value;
};
static inline bn_fold bn_fold_zero() { return {0}; }
static inline void bn_fold_add(bn_fold &fold, const uint8_t *p) {
  for (int i = 0; i < 64; i += 8) {
    uint64_t word;
    std::memcpy(&word, p + i, sizeof word);
    fold.value ^= word;
  }
}
static inline uint64_t bn_fold_value(const bn_fold &fold) { return fold.value; }
