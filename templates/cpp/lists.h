// Lists of what is left of a matrix where the rest meets zeros. A list has room for 16 entries more than there can be.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "skip.h"
#include "team.h"

// Rows whose gate is positive for a token, or no number: max(gate, 0)^2 is zero in all others, and so is its product with
// whatever they would have been, if only that is finite. Where a scale is too large for that, or no number, all rows are
// listed. The list ends with N, which does not count.
template <int N>
static inline int32_t bn_list_rows(int32_t *rows, const float *gate, int64_t stride, const float *group_scales,
                                   const bn_quant *quant, int32_t tokens) {
  constexpr float kFinite = 1e29f; // times an int32: less than 3.4e38
  int32_t count = 0;
  for (int32_t first = 0; first < N; first += 16) {
    uint32_t active = 0;
    for (int32_t t = 0; t < tokens; ++t) {
      const bool finite = std::fabs(group_scales[first / 16] * quant[t].inverse_scale) < kFinite;
      active |= finite ? bn_positive16(gate + t * stride + first) : 0xffffu;
    }
    count = bn_append16(rows, count, active, first);
  }
  rows[count] = N;
  return count;
}

// Columns that meet an activation other than zero.
template <int N>
static inline int32_t bn_list_columns(int32_t *columns, const int8_t *q, int32_t tokens) {
  int32_t count = 0;
  for (int32_t first = 0; first < N; first += 16) {
    uint32_t active = 0;
    for (int64_t t = 0; t < tokens; ++t) active |= bn_nonzero16(q + t * N + first);
    count = bn_append16(columns, count, active, first);
  }
  return count;
}

// y = 0 for what lies before each of some rows of such a list, up to the one before it, and behind the last one for the list's
// end. Rows of the list become zero, too: they are computed afterwards.
static inline void bn_clear_rows(float *y, const int32_t *rows, bn_range taken) {
  const int32_t from = taken.begin == 0 ? 0 : rows[taken.begin - 1] + 1, to = rows[taken.end - 1];
  if (from < to) std::memset(y + from, 0, static_cast<size_t>(to - from) * sizeof(float));
}
