// Blocks of the encodings that tables of rows come in, taken apart: portable scalar C++, and the definition of what
// every other target's header must do. Blocks may start at any address.
#pragma once

#include "primitives.h"

// Float16 scales, `stride` bytes apart, as float32.
static inline void bn_block_scales(float *scales, const uint8_t *p, int64_t stride, int count) {
  for (int i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, p + i * stride, sizeof half);
    scales[i] = bn_load_f16(&half);
  }
}

// Sixteen bytes of nibbles: (nibble - 8) * scale, the low ones to vectors 0 on, the high ones to 16 / BN_LANES on.
static inline void bn_q4_0_values(bn_f32 *values, const uint8_t *nibbles, bn_f32 scale) {
  for (int i = 0; i < 16; ++i) {
    values[i] = bn_mul(static_cast<float>((nibbles[i] & 15) - 8), scale);
    values[16 + i] = bn_mul(static_cast<float>((nibbles[i] >> 4) - 8), scale);
  }
}

// The values of a Q6_K block, less 32: 128 bytes of low halves, 64 bytes of upper bit pairs. Each half of 128 values
// takes its four quarters of 32 from the low and high halves of 64 bytes, and bit pair 2q of 32 bytes.
static inline void bn_q6_k_unpack(int8_t *values, const uint8_t *block) {
  for (int half = 0; half < 2; ++half) {
    const uint8_t *low = block + half * 64, *high = block + 128 + half * 32;
    for (int i = 0; i < 32; ++i) {
      int8_t *v = values + half * 128 + i;
      v[0] = static_cast<int8_t>(((low[i] & 15) | (high[i] & 3) << 4) - 32);
      v[32] = static_cast<int8_t>(((low[32 + i] & 15) | (high[i] >> 2 & 3) << 4) - 32);
      v[64] = static_cast<int8_t>((low[i] >> 4 | (high[i] >> 4 & 3) << 4) - 32);
      v[96] = static_cast<int8_t>((low[32 + i] >> 4 | high[i] >> 6 << 4) - 32);
    }
  }
}

// The scales of a Q6_K block's groups of sixteen: 16 int8, each times the float16 behind them.
static inline void bn_q6_k_scales(float *scales, const uint8_t *p) {
  float scale;
  bn_block_scales(&scale, p + 16, 2, 1);
  for (int group = 0; group < 16; ++group) scales[group] = scale * static_cast<float>(static_cast<int8_t>(p[group]));
}
