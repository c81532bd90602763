// The embedding table: 8 rows of 512 values, Q6_K.
// Written from templates/cpp/embedding.cpp.hbs for target ref.
#include "kernels.h"
#include "rows.h"

namespace {

constexpr int64_t kRowBytes = 420;

// Rows of 512 Q6_K values, side by side: emit(row, column, values) for every sixteen. Blocks of 256 take 210 bytes: 128
// bytes of low halves, 64 bytes of upper bit pairs, 16 int8 scales, one float16 scale. Each half of 128 values takes its
// four quarters of 32 from the low and high halves of 64 bytes, and bit pair 2q of 32 bytes; values are less 32.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, Emit emit) {
  for (int block = 0; block < 512 / 256; ++block) {
    for (int r = 0; r < Rows; ++r) {
      const uint8_t *p = rows + r * kRowBytes + block * 210;
      for (int line = 0; line < 256; line += 64) {
        bn_prefetch_rows<Rows>(rows + r * kRowBytes, block * 210 + line, kRowBytes);
      }
      const int8_t *scales = reinterpret_cast<const int8_t *>(p + 192);
      const float scale = bn_f16_value(p + 208);
      int8_t values[256];
      for (int half = 0; half < 2; ++half) {
        const uint8_t *low = p + half * 64, *high = p + 128 + half * 32;
        for (int i = 0; i < 32; ++i) {
          int8_t *v = values + half * 128 + i;
          v[0] = static_cast<int8_t>(((low[i] & 15) | (high[i] & 3) << 4) - 32);
          v[32] = static_cast<int8_t>(((low[32 + i] & 15) | (high[i] >> 2 & 3) << 4) - 32);
          v[64] = static_cast<int8_t>((low[i] >> 4 | (high[i] >> 4 & 3) << 4) - 32);
          v[96] = static_cast<int8_t>((low[32 + i] >> 4 | high[i] >> 6 << 4) - 32);
        }
      }
      for (int group = 0; group < 16; ++group) {
        const bn_f32 group_scale = bn_set(scale * static_cast<float>(scales[group]));
        emit(r, block * 256 + group * 16, bn_scaled16(values + group * 16, group_scale));
      }
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  decode_rows<1>(table + id * kRowBytes, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
