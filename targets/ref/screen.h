// Primitives of the screened head, target `ref`: the definition of what every other target's header must do.
#pragma once

#include "rows.h"

// Of one block of 32 columns: sum[r] += u[r] * (sum of 2 n q, and `centre`) for the 16 rows of a group, the product and
// the addition rounded once. Byte 64 i + 4 r + j of `codes` holds n of row r, columns 8 i + j in bits 3..0 and
// 8 i + 4 + j in bits 7..4; q = 128 high + low / 2. The integer is less than 2^24.
static inline void bn_screen_add(bn_f32x16 &sum, const uint8_t *codes, const uint8_t *factors, const int8_t *high,
                                 const int8_t *low, int32_t centre) {
  for (int r = 0; r < 16; ++r) {
    int32_t total = centre;
    for (int c = 0; c < 32; ++c) {
      const int n = codes[c / 8 * 64 + 4 * r + c % 4] >> c % 8 / 4 * 4 & 15;
      total += n * (256 * high[c] + low[c]);
    }
    sum.part[r] = std::fma(static_cast<float>(total), static_cast<float>(factors[r]), sum.part[r]);
  }
}

// Of one row: the sum over an even number of blocks of u * sum of (bit ? high : -high), exact.
static inline int32_t bn_screen_fifth(const uint8_t *bits, const uint8_t *factors, const int8_t *high, int blocks) {
  int32_t total = 0;
  for (int i = 0; i < blocks * 32; ++i) {
    total += factors[i / 32] * (bits[i / 8] >> i % 8 & 1 ? high[i] : -high[i]);
  }
  return total;
}
