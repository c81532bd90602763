// The embedding table: 8 rows of 64 values, Q4_0.
// Written from templates/cpp/embedding.cpp.hbs for target ref.
#include "blocks.h"
#include "rows.h"
#include "tables.h"

namespace {

constexpr int64_t kRowBytes = 36;

// Rows of 64 Q4_0 values, side by side: emit(row, column, values) for every sixteen. Blocks of 32 take 18
// bytes, the float16 scale first; value i is the low half of byte i, value 16 + i the high half, each less 8.
// Meanwhile as many rows at `next` are prefetched.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, const uint8_t *next, Emit emit) {
  constexpr int kBlocks = 64 / 32;
  float scales[Rows][kBlocks];
  for (int r = 0; r < Rows; ++r) bn_block_scales(scales[r], rows + r * kRowBytes, 18, kBlocks);
  for (int block = 0; block < kBlocks; ++block) {
    bn_prefetch_lines<Rows * 18>(next + Rows * block * 18);
    BN_UNROLL for (int r = 0; r < Rows; ++r) {
      const uint8_t *p = rows + r * kRowBytes + block * 18;
      bn_f32x16 values[2];
      bn_q4_0_values(values[0].part, p + 2, bn_set(scales[r][block]));
      BN_UNROLL for (int i = 0; i < 2; ++i) emit(r, block * 32 + i * 16, values[i]);
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  const uint8_t *row = table + id * kRowBytes;
  decode_rows<1>(row, row, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
