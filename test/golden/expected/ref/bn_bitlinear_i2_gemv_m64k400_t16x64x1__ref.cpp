// bn_bitlinear_i2_gemv_m64k400_t16x64x1__ref
// y[m] = (sum over k of (code[m][k] - 1) * q[k]) * group_scale[m / 16] * inverse_scale, for one token.
//
// Weights, as row groups of 16 rows, each a run of 64-byte blocks of 16 columns:
//
//   byte 4r + j of a block    bits 7..6       5..4       3..2       1..0
//   row r, column             12 + j          8 + j      4 + j      j          code = weight + 1
//
// Tile: 16 rows, running sums widened every 64 columns. Bounds: 65536 * 25 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_i2_gemv.cpp.hbs for target ref.
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 25; // of 16 columns: K = 400
constexpr int32_t kChunk = 4; // blocks that a running sum may take before it is widened
constexpr int64_t kGroupBytes = int64_t{kBlocks} * 64;

inline void store(const bn_bitlinear_args *args, int32_t group, bn_i32x16 sums) {
  const float scale = args->group_scales[group] * args->quant->inverse_scale;
  float *y = args->y + int64_t{group} * 16;
  if (args->accumulate) {
    bn_add_rows(y, sums, args->quant->sum, scale);
  } else {
    bn_store_rows(y, sums, args->quant->sum, scale);
  }
}

template <int Groups>
inline void rows(const bn_bitlinear_args *args, int32_t group) {
  const uint8_t *weights = args->weights + group * kGroupBytes;
  bn_i32x16 total[Groups];
  for (int g = 0; g < Groups; ++g) total[g] = bn_i32x16_zero();
  for (int32_t first = 0; first < kBlocks; first += kChunk) {
    const int32_t last = first + kChunk < kBlocks ? first + kChunk : kBlocks;
    bn_gemv_sum sum[Groups];
    for (int g = 0; g < Groups; ++g) sum[g] = bn_gemv_zero();
    for (int32_t block = first; block < last; ++block) {
      for (int g = 0; g < Groups; ++g) {
        const uint8_t *codes = weights + g * kGroupBytes + int64_t{block} * 64;
        bn_prefetch_rows<Groups>(weights + g * kGroupBytes, int64_t{block} * 64, kGroupBytes);
        bn_gemv_add(sum[g], codes, args->q + block * 16);
      }
    }
    for (int g = 0; g < Groups; ++g) total[g] = bn_i32x16_add(total[g], bn_gemv_total(sum[g]));
  }
  for (int g = 0; g < Groups; ++g) store(args, group + g, total[g]);
}

} // namespace

void bn_bitlinear_i2_gemv_m64k400_t16x64x1__ref(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  int32_t group = group_begin;
  for (; group < group_end; ++group) rows<1>(args, group);
}
