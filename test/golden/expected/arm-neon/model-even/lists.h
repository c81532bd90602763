// Lists of what is left of a matrix where the rest meets zeros. A list has room for 16 entries more than there can be.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "skip.h"
#include "team.h"

// Rows whose gate is positive, or no number: max(gate, 0)^2 is zero in all others, and so is its product with whatever they
// would have been, if only that is finite. Where a scale is too large for that, or no number, all rows are listed. The list ends with
// N, which does not count.
template <int N>
static inline int32_t bn_list_rows(int32_t *rows, const float *gate, const float *group_scales, float inverse_scale) {
  constexpr float kFinite = 1e29f; // times an int32: less than 3.4e38
  int32_t count = 0;
  for (int32_t first = 0; first < N; first += 16) {
    const bool finite = std::fabs(group_scales[first / 16] * inverse_scale) < kFinite;
    count = bn_append16(rows, count, finite ? bn_positive16(gate + first) : 0xffffu, first);
  }
  rows[count] = N;
  return count;
}

// Columns that meet an activation other than zero.
template <int N>
static inline int32_t bn_list_columns(int32_t *columns, const int8_t *q) {
  int32_t count = 0;
  for (int32_t first = 0; first < N; first += 16) count = bn_append16(columns, count, bn_nonzero16(q + first), first);
  return count;
}

// y = 0 from the first row of a share of such a list to the first of the next thread's share.
static inline void bn_clear_rows(float *y, const int32_t *rows, bn_range share, bool first, bool last, int32_t end) {
  const int32_t from = first ? 0 : rows[share.begin], to = last ? end : rows[share.end];
  if (from < to) std::memset(y + from, 0, static_cast<size_t>(to - from) * sizeof(float));
}
