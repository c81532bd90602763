// Primitives for matrices that are read in part, on target `arm-neon`.
// What each must do is written in the header of target `ref`.
#pragma once

#include "rows.h"

// Codes at bits 2j.
static inline int8x16_t bn_codes_at(uint8x16_t packed, int j) {
  const uint8x16_t down = vshlq_u8(packed, vdupq_n_s8(static_cast<int8_t>(-2 * j)));
  return vreinterpretq_s8_u8(vandq_u8(down, vdupq_n_u8(3)));
}

template <int Tokens>
static inline void bn_row_dots(int32_t *sums, const uint8_t *row, const int8_t *q, int64_t stride, int32_t blocks) {
  bn_i32x16 sum[Tokens];
  BN_UNROLL for (int t = 0; t < Tokens; ++t) sum[t] = bn_i32x16_zero();
  for (int32_t block = 0; block < blocks; ++block, row += 64, q += 256) {
    for (int i = 0; i < 64; i += 16) {
      const uint8x16_t packed = vld1q_u8(row + i);
      const int8x16_t codes0 = bn_codes_at(packed, 0), codes1 = bn_codes_at(packed, 1);
      const int8x16_t codes2 = bn_codes_at(packed, 2), codes3 = bn_codes_at(packed, 3);
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        const int8_t *x = q + t * stride + i;
        sum[t].rows0 = vdotq_s32(sum[t].rows0, codes0, vld1q_s8(x));
        sum[t].rows4 = vdotq_s32(sum[t].rows4, codes1, vld1q_s8(x + 64));
        sum[t].rows8 = vdotq_s32(sum[t].rows8, codes2, vld1q_s8(x + 128));
        sum[t].rows12 = vdotq_s32(sum[t].rows12, codes3, vld1q_s8(x + 192));
      }
    }
  }
  BN_UNROLL for (int t = 0; t < Tokens; ++t) {
    sums[t] = vaddvq_s32(vaddq_s32(vaddq_s32(sum[t].rows0, sum[t].rows4), vaddq_s32(sum[t].rows8, sum[t].rows12)));
  }
}

static inline void bn_i2_rows_unpack(uint8_t *panel, int64_t stride, const uint8_t *block, int64_t row_bytes) {
  for (int dword = 0; dword < 16; ++dword) {
    for (int first = 0; first < 16; first += 4) {
      uint8_t four[16];
      for (int r = 0; r < 4; ++r) std::memcpy(four + 4 * r, block + (first + r) * row_bytes + 4 * dword, 4);
      const uint8x16_t packed = vld1q_u8(four);
      for (int j = 0; j < 4; ++j) {
        vst1q_u8(panel + (16 * j + dword) * stride + 4 * first, vreinterpretq_u8_s8(bn_codes_at(packed, j)));
      }
    }
  }
}

// Four columns interleaved byte by byte: dword d of rows[h] is byte 4h + d of each.
struct bn_interleaved {
  uint8x16_t rows[4];
};

static inline bn_interleaved bn_interleave(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d) {
  const uint16x8_t low01 = vreinterpretq_u16_u8(vzip1q_u8(a, b)), high01 = vreinterpretq_u16_u8(vzip2q_u8(a, b));
  const uint16x8_t low23 = vreinterpretq_u16_u8(vzip1q_u8(c, d)), high23 = vreinterpretq_u16_u8(vzip2q_u8(c, d));
  return {{vreinterpretq_u8_u16(vzip1q_u16(low01, low23)), vreinterpretq_u8_u16(vzip2q_u16(low01, low23)),
           vreinterpretq_u8_u16(vzip1q_u16(high01, high23)), vreinterpretq_u8_u16(vzip2q_u16(high01, high23))}};
}

template <int Tokens>
static inline void bn_columns_add(int32_t *sums, int64_t stride, const uint8_t *const *columns, int64_t line,
                                  const int8_t *values, int64_t values_stride, int32_t quads) {
  for (int lane = 0; lane < 4; ++lane) {
    bn_interleaved rows[8]; // of each quad
    for (int32_t quad = 0; quad < quads; ++quad) {
      const auto codes = [=](int c) { return vld1q_u8(columns[4 * quad + c] + line + 16 * lane); };
      rows[quad] = bn_interleave(codes(0), codes(1), codes(2), codes(3));
    }
    for (int h = 0; h < 4; ++h) {
      int32x4_t sum[Tokens][4];
      const auto place = [=](int t, int j) { return sums + t * stride + 16 * (4 * h + j) + 4 * lane; };
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        BN_UNROLL for (int j = 0; j < 4; ++j) sum[t][j] = vld1q_s32(place(t, j));
      }
      for (int32_t quad = 0; quad < quads; ++quad) {
        BN_UNROLL for (int j = 0; j < 4; ++j) {
          const int8x16_t codes = bn_codes_at(rows[quad].rows[h], j);
          BN_UNROLL for (int t = 0; t < Tokens; ++t) {
            sum[t][j] = vdotq_s32(sum[t][j], codes, bn_load_quad(values + t * values_stride + 4 * quad));
          }
        }
      }
      BN_UNROLL for (int t = 0; t < Tokens; ++t) {
        BN_UNROLL for (int j = 0; j < 4; ++j) vst1q_s32(place(t, j), sum[t][j]);
      }
    }
  }
}

static inline void bn_i2_columns_unpack(uint8_t *const *panels, int64_t stride, const uint8_t *weights,
                                        int64_t column_bytes, int32_t quads, int32_t group, int32_t count) {
  for (int32_t quad = 0; quad < quads; ++quad, weights += 4 * column_bytes) {
    for (int lane = 0; lane < 4; ++lane) {
      const auto codes = [=](int c) { return vld1q_u8(weights + c * column_bytes + 16 * lane); };
      const bn_interleaved four = bn_interleave(codes(0), codes(1), codes(2), codes(3));
      for (int32_t g = 0; g < count; ++g) {
        const int8x16_t rows = bn_codes_at(four.rows[group / 4], (group + g) % 4);
        vst1q_u8(panels[g] + quad * stride + 16 * lane, vreinterpretq_u8_s8(rows));
      }
    }
  }
}

static inline bn_i32x16 bn_load_sums(const int32_t *sums) {
  return {vld1q_s32(sums), vld1q_s32(sums + 4), vld1q_s32(sums + 8), vld1q_s32(sums + 12)};
}

static inline uint32_t bn_positive16(const float *values) {
  const uint32x4_t place = {1, 2, 4, 8};
  uint32_t bits = 0;
  for (int i = 0; i < 16; i += 4) {
    bits |= vaddvq_u32(vbicq_u32(place, vclezq_f32(vld1q_f32(values + i)))) << i;
  }
  return bits;
}

static inline uint32_t bn_nonzero16(const int8_t *values) {
  const uint8x8_t place = {1, 2, 4, 8, 16, 32, 64, 128};
  const int8x16_t v = vld1q_s8(values);
  const uint8x16_t set = vtstq_s8(v, v);
  const uint32_t high = vaddv_u8(vand_u8(vget_high_u8(set), place));
  return vaddv_u8(vand_u8(vget_low_u8(set), place)) | high << 8;
}

static inline int32_t bn_append16(int32_t *list, int32_t count, uint32_t bits, int32_t first) {
  for (int i = 0; i < 16; ++i) {
    list[count] = first + i;
    count += bits >> i & 1;
  }
  return count;
}
