// The embedding table: 8 rows of 512 values, Q6_K.
// Written from templates/cpp/embedding.cpp.hbs for target ref.
#include "blocks.h"
#include "rows.h"
#include "tables.h"

namespace {

constexpr int64_t kRowBytes = 420;

// Rows of 512 Q6_K values, side by side: emit(row, column, values) for every sixteen. Blocks of 256
// take 210 bytes: 128 of low halves, 64 of upper bit pairs, 16 int8 scales, one float16 scale.
// Meanwhile as many rows at `next` are prefetched.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, const uint8_t *next, Emit emit) {
  for (int block = 0; block < 512 / 256; ++block) {
    bn_prefetch_lines<Rows * 210>(next + Rows * block * 210);
    alignas(64) int8_t values[Rows][256];
    alignas(64) float scales[Rows][16];
    for (int r = 0; r < Rows; ++r) {
      const uint8_t *p = rows + r * kRowBytes + block * 210;
      bn_q6_k_unpack(values[r], p);
      bn_q6_k_scales(scales[r], p + 192);
    }
    for (int group = 0; group < 16; ++group) {
      BN_UNROLL for (int r = 0; r < Rows; ++r) {
        emit(r, block * 256 + group * 16, bn_scaled16(values[r] + group * 16, bn_set(scales[r][group])));
      }
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  const uint8_t *row = table + id * kRowBytes;
  decode_rows<1>(row, row, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
