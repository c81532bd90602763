// bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128
// y[m] = (sum over k of weight[m][k] * q[k]) * group_scale[m / 16] * inverse_scale, for one token: sums of two weights
// each are looked up in tables that are made from q first.
//
// Weights, as row groups of 16 rows, each a run of 256-byte blocks of 64 columns: four lanes j, four steps s in each.
//
//   byte 64s + 16j + r    bits 7..4                 bits 3..0
//   row r, columns        16j + 4s + 2, 3           16j + 4s + 0, 1            weights (a, b) as 3 (a + 1) + (b + 1)
//
// Tile: 16 rows pass over a chunk of 128 columns, 16 of them in registers.
// Bounds: 128 * 128 <= 32767 (int16), 128 * 250 <= 2147483647 (int32).
// Written from templates/cpp/bitlinear_tl1_gemv.cpp.hbs for target wasm-simd128.
#include "rows.h"

namespace {

constexpr int32_t kBlocks = 4; // of 64 columns: K = 250, padded
constexpr int32_t kChunk = 2; // blocks that an int16 sum may take before it is widened
constexpr int32_t kRows = 1; // row groups that a chunk of tables passes over
constexpr int64_t kGroupBytes = int64_t{kBlocks} * 256;
constexpr int64_t kTableBytes = BN_TL1_TABLE; // of a block

inline void make_tables(uint8_t *tables, const int8_t *q) {
  for (int32_t block = 0; block < kBlocks; ++block) {
    bn_tl1_tables(tables + block * kTableBytes, q + block * 64);
  }
}

// Adds the chunk of columns that begins with block `first`. What is prefetched is read next: the chunk after it, or the
// first one of the next rows.
template <int Groups>
inline void add_chunk(bn_i32x16 *total, const uint8_t *weights, const uint8_t *tables, int32_t first) {
  const int32_t last = first + kChunk < kBlocks ? first + kChunk : kBlocks;
  const int64_t ahead = first + kChunk < kBlocks ? kChunk * 256 : kRows * kGroupBytes - first * 256;
  bn_table_sum sum[Groups];
  for (int g = 0; g < Groups; ++g) sum[g] = bn_table_zero();
  for (int32_t block = first; block < last; ++block) {
    for (int g = 0; g < Groups; ++g) {
      const uint8_t *indices = weights + g * kGroupBytes + int64_t{block} * 256;
      for (int line = 0; line < 256; line += 64) bn_prefetch(indices + ahead + line);
      bn_tl1_add(sum[g], indices, tables + block * kTableBytes);
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

void bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128_tables(const bn_bitlinear_args *args) { make_tables(args->scratch, args->q); }

void bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128_rows(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  const uint8_t *tables = args->scratch;
  bn_i32x16 *total = reinterpret_cast<bn_i32x16 *>(args->scratch + kBlocks * kTableBytes);
  for (int32_t begin = group_begin; begin < group_end; begin += kRows) {
    const int32_t count = begin + kRows < group_end ? kRows : group_end - begin;
    const uint8_t *weights = args->weights + begin * kGroupBytes;
    for (int32_t g = 0; g < count; ++g) total[g] = bn_i32x16_zero();
    for (int32_t first = 0; first < kBlocks; first += kChunk) {
      int32_t g = 0;
      for (; g < count; ++g) add_chunk<1>(total + g, weights + g * kGroupBytes, tables, first);
    }
    for (int32_t g = 0; g < count; ++g) store(args, begin + g, total[g]);
  }
}

void bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128(const bn_bitlinear_args *args, int32_t group_begin, int32_t group_end) {
  bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128_tables(args);
  bn_bitlinear_tl1_gemv_m48k250_t16x128x16x1__wasm_simd128_rows(args, group_begin, group_end);
}
