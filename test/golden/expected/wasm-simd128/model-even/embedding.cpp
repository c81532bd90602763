// The embedding table: 96 rows of 128 values, F16.
// Written from templates/cpp/embedding.cpp.hbs for target wasm-simd128.
#include "blocks.h"
#include "rows.h"
#include "tables.h"

namespace {

constexpr int64_t kRowBytes = 256;

// Rows of 128 float16 values, side by side: emit(row, column, values) for every sixteen of them. Meanwhile as
// many rows at `next` are prefetched.
template <int Rows, typename Emit>
inline void decode_rows(const uint8_t *rows, const uint8_t *next, Emit emit) {
  constexpr int kWhole = 128;
  for (int i = 0; i < kWhole; i += 16) {
    BN_UNROLL for (int r = 0; r < Rows; ++r) {
      const uint8_t *row = rows + r * kRowBytes;
      bn_prefetch_row(row, next + r * kRowBytes, i * int64_t{sizeof(uint16_t)}, kRowBytes);
      emit(r, i, bn_load16_f16(reinterpret_cast<const uint16_t *>(row) + i));
    }
  }
}

} // namespace

void bn_embed(float *x, const uint8_t *table, int32_t id) {
  const uint8_t *row = table + id * kRowBytes;
  decode_rows<1>(row, row, [x](int, int column, const bn_f32x16 &values) { bn_store16(x + column, values); });
}
