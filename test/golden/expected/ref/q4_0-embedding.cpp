// The embedding table: 8 rows of 64 values, Q4_0.
// Written from templates/cpp/embedding.cpp.hbs for target ref.
#include "kernels.h"
#include "rows.h"

namespace {

constexpr int64_t kRowBytes = 36;

// Rows of 64 Q4_0 values, side by side: emit(row, column, values) for every sixteen. Blocks of 32 take 18 bytes, the
// float16 scale first; value i is the low half of byte i, value 16 + i the high half, each less 8.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, Emit emit) {
  for (int block = 0; block < 64 / 32; ++block) {
    for (int r = 0; r < Rows; ++r) {
      const uint8_t *p = rows + r * kRowBytes + block * 18;
      bn_prefetch_rows<Rows>(rows + r * kRowBytes, block * 18, kRowBytes);
      const bn_f32 scale = bn_set(bn_f16_value(p));
      int8_t values[32];
      for (int i = 0; i < 16; ++i) {
        values[i] = static_cast<int8_t>((p[2 + i] & 15) - 8);
        values[16 + i] = static_cast<int8_t>((p[2 + i] >> 4) - 8);
      }
      BN_UNROLL for (int i = 0; i < 32; i += 16) emit(r, block * 32 + i, bn_scaled16(values + i, scale));
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  decode_rows<1>(table + id * kRowBytes, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
