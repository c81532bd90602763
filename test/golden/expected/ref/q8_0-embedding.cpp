// The embedding table: 8 rows of 64 values, Q8_0.
// Written from templates/cpp/embedding.cpp.hbs for target ref.
#include "blocks.h"
#include "rows.h"
#include "tables.h"

namespace {

constexpr int64_t kRowBytes = 68;

// Rows of 64 Q8_0 values, side by side: emit(row, column, values) for every sixteen. Blocks of 32 int8
// take 34 bytes, the float16 scale first.
// Meanwhile as many rows at `next` are prefetched.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, const uint8_t *next, Emit emit) {
  constexpr int kBlocks = 64 / 32;
  float scales[Rows][kBlocks];
  for (int r = 0; r < Rows; ++r) bn_block_scales(scales[r], rows + r * kRowBytes, 34, kBlocks);
  for (int block = 0; block < kBlocks; ++block) {
    bn_prefetch_lines<Rows * 34>(next + Rows * block * 34);
    BN_UNROLL for (int r = 0; r < Rows; ++r) {
      const uint8_t *p = rows + r * kRowBytes + block * 34;
      const bn_f32 scale = bn_set(scales[r][block]);
      const int8_t *values = reinterpret_cast<const int8_t *>(p + 2);
      BN_UNROLL for (int i = 0; i < 32; i += 16) emit(r, block * 32 + i, bn_scaled16(values + i, scale));
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  const uint8_t *row = table + id * kRowBytes;
  decode_rows<1>(row, row, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
