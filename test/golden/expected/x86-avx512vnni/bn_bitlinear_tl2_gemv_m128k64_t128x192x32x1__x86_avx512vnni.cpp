// bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni
// y[m] = (sum over k of weight[m][k] * q[k]) * group_scale[m / 16] * inverse_scale, for one token: sums of three weights
// each are looked up in tables that are made from q first.
//
// Weights, as row groups of 16 rows, each a run of 320-byte blocks of 96 columns: four lanes j, four steps s in each.
//
//   byte 64s + 16j + r    bits 7..4                 bits 3..0
//   row r, columns        24j + 6s + 3, 4, 5        24j + 6s + 0, 1, 2         weights (a, b, c) as |n|, n = 9a + 3b + c
//
//   byte 256 + 16j + r    bit i
//   row r, columns        24j + 3i + 0, 1, 2        1 where n < 0
//
// Tile: 128 rows pass over a chunk of 192 columns, 32 of them in registers.
// Bounds: 128 * 192 <= 32767 (int16), 128 * 64 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_tl2_gemv.cpp.hbs for target x86-avx512vnni.
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 1; // of 96 columns: K = 64, padded
constexpr int32_t kChunk = 2; // blocks that an int16 sum may take before it is widened
constexpr int32_t kRows = 8; // row groups that a chunk of tables passes over
constexpr int32_t kHeld = 2; // row groups in registers
constexpr int64_t kGroupBytes = int64_t{kBlocks} * 320;
constexpr int64_t kTableBytes = BN_TL2_TABLE; // of a block

inline void make_tables(uint8_t *tables, const int8_t *q) {
  for (int32_t block = 0; block < kBlocks - 1; ++block) {
    bn_tl2_tables(tables + block * kTableBytes, q + block * 96);
  }
  int8_t last[96] = {}; // the activations end before the block does
  std::memcpy(last, q + (kBlocks - 1) * 96, 64);
  bn_tl2_tables(tables + (kBlocks - 1) * kTableBytes, last);
}

// Adds the chunk of columns that begins with block `first`. What is prefetched is read next: the chunk after it, or the
// first one of the next rows.
template <int Groups>
inline void add_chunk(bn_i32x16 *total, const uint8_t *weights, const uint8_t *tables, int32_t first) {
  const int32_t last = first + kChunk < kBlocks ? first + kChunk : kBlocks;
  const int64_t ahead = first + kChunk < kBlocks ? kChunk * 320 : kRows * kGroupBytes - first * 320;
  bn_table_sum sum[Groups];
  for (int g = 0; g < Groups; ++g) sum[g] = bn_table_zero();
  for (int32_t block = first; block < last; ++block) {
    for (int g = 0; g < Groups; ++g) {
      const uint8_t *indices = weights + g * kGroupBytes + int64_t{block} * 320;
      for (int line = 0; line < 320; line += 64) bn_prefetch(indices + ahead + line);
      bn_tl2_add(sum[g], indices, tables + block * kTableBytes);
    }
  }
  for (int g = 0; g < Groups; ++g) total[g] = bn_i32x16_add(total[g], bn_table_total(sum[g]));
}

inline void store(const bn_bitlinear_args *args, int32_t group, bn_i32x16 sums) {
  const float scale = args->group_scales[group] * args->quant->inverse_scale;
  float *y = args->y + int64_t{group} * 16;
  if (args->accumulate) {
    bn_add_rows(y, sums, 0, scale);
  } else {
    bn_store_rows(y, sums, 0, scale);
  }
}

} // namespace

void bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni_tables(const bn_bitlinear_args *args) { make_tables(args->scratch, args->q); }

void bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni_rows(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  const uint8_t *tables = args->scratch;
  bn_i32x16 *total = reinterpret_cast<bn_i32x16 *>(args->scratch + kBlocks * kTableBytes);
  for (int32_t begin = group_begin; begin < group_end; begin += kRows) {
    const int32_t count = begin + kRows < group_end ? kRows : group_end - begin;
    const uint8_t *weights = args->weights + begin * kGroupBytes;
    for (int32_t g = 0; g < count; ++g) total[g] = bn_i32x16_zero();
    for (int32_t first = 0; first < kBlocks; first += kChunk) {
      int32_t g = 0;
      for (; g + kHeld <= count; g += kHeld) add_chunk<kHeld>(total + g, weights + g * kGroupBytes, tables, first);
      for (; g < count; ++g) add_chunk<1>(total + g, weights + g * kGroupBytes, tables, first);
    }
    for (int32_t g = 0; g < count; ++g) store(args, begin + g, total[g]);
  }
}

void bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni_tables(args);
  bn_bitlinear_tl2_gemv_m128k64_t128x192x32x1__x86_avx512vnni_rows(args, group_begin, group_end);
}
