// Primitives for matrices that are read in part, portable, and the definition of what every other target's must do.
//
// Rows: byte i of 64 has columns 64j + i of one row at bits 2j; a row's blocks of 256 columns follow each other.
// Columns: of 256 rows in 64 bytes, byte 16 (r / 4) + 4h + r % 4 has row r of the row groups 4h + j at bits 2j.
#pragma once

#include "primitives.h"

// The sums of code * q over `blocks` blocks of one row, for the activations of each token: `stride` values apart.
template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  for (int t = 0; t < Tokens; ++t, q += stride) {
    sums[t] = 0;
    for (int32_t block = 0; block < blocks; ++block) {
      for (int i = 0; i < 256; ++i) sums[t] += (row[block * 64 + i % 64] >> (i / 64 * 2) & 3) * q[block * 256 + i];
    }
  }
}

// Unpacks one block of 16 rows, `row_bytes` apart: panel[quad * stride + 4r + j] for column 4 quad + j of row r.
static inline void bn_i2_rows_unpack(uint8_t *panel, int64_t stride, const uint8_t *block, int64_t row_bytes) {
  for (int r = 0; r < 16; ++r) {
    for (int c = 0; c < 256; ++c) {
      panel[c / 4 * stride + 4 * r + c % 4] = block[r * row_bytes + c % 64] >> (c / 64 * 2) & 3;
    }
  }
}

// Where row r of a row group has its code in 64 bytes of a column.
static inline int bn_column_byte(int32_t group, int r) { return 16 * (r / 4) + 4 * (group % 16 / 4) + r % 4; }

// sums[t * stride + r] += code * values[t * values_stride + c] over 4 `quads` columns c, 32 at most, for the 256 rows r of the
// 64 bytes at `line` of each.
template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  for (int t = 0; t < Tokens; ++t) {
    for (int32_t c = 0; c < 4 * quads; ++c) {
      for (int i = 0; i < 256; ++i) {
        const int code = columns[c][line + bn_column_byte(i / 16, i % 16)] >> (i / 16 % 4 * 2) & 3;
        sums[t * stride + i] += code * values[t * values_stride + c];
      }
    }
  }
}

// Unpacks row groups of a matrix by columns, `count` of them that share bytes (group / 4 is the same), each to a panel of
// its own: panels[g][quad * stride + 4r + j].
static inline void bn_i2_columns_unpack(uint8_t *const *panels, int64_t stride, const uint8_t *weights,
                                        int64_t column_bytes, int32_t quads, int32_t group, int32_t count) {
  for (int64_t column = 0; column < quads * 4; ++column) {
    const uint8_t *codes = weights + column * column_bytes;
    for (int g = 0; g < count; ++g) {
      uint8_t *rows = panels[g] + column / 4 * stride + column % 4;
      for (int r = 0; r < 16; ++r) rows[4 * r] = codes[bn_column_byte(group, r)] >> ((group + g) % 4 * 2) & 3;
    }
  }
}

static inline bn_i32x16 bn_load_sums(const int32_t *sums) {
  bn_i32x16 loaded;
  std::memcpy(loaded.row, sums, sizeof loaded.row);
  return loaded;
}

// Bit i: whether value i is greater than zero, or no number; whether it is other than zero.
static inline uint32_t bn_positive16(const float *values) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) bits |= static_cast<uint32_t>(!(values[i] <= 0.0f)) << i;
  return bits;
}

static inline uint32_t bn_nonzero16(const int8_t *values) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i) bits |= static_cast<uint32_t>(values[i] != 0) << i;
  return bits;
}

// Appends first + i for each bit i to a list of `count`, which has room for 16 more; returns how many it is then.
static inline int32_t bn_append16(int32_t *list, int32_t count, uint32_t bits, int32_t first) {
  for (int i = 0; i < 16; ++i) {
    list[count] = first + i;
    count += bits >> i & 1;
  }
  return count;
}
